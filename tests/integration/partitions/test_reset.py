"""Partitions that are forgotten, in PostgreSQL and wherever their snapshots lie."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Connection, Pool, connect
from libs.common.errors import Fenced, NotFound, Refused
from libs.common.partitions.bodies.directory import DirectoryBodies
from libs.common.partitions.ports import Lease
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.common.partitions.reset import Wish, reset
from libs.common.partitions.snapshots import seal


async def write_sum(connection: Connection, partition: int, rows: int) -> None:
    await connection.execute("INSERT INTO sums VALUES ($1, $2)", partition, rows)


class Yard:
    """Partitions 0 and 1, each with published rows and two snapshots in a folder."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.pool = pool
        self.folder = folder
        self.bodies = DirectoryBodies(folder)
        self.store: PostgresPartitionStore[int] = PostgresPartitionStore(pool, write_sum, self.bodies)
        self.leases: list[Lease] = []

    async def fill(self) -> None:
        """Let an owner work on both."""
        for number in (0, 1):
            lease = await self.store.acquire(number, f"worker {number}")
            await self.store.publish(lease, {"exposures": 5}, number)
            for offset in (3, 5):
                await self.store.save_snapshot(lease, seal(number, {"exposures": offset}, [b"state"]))
            self.leases.append(lease)

    async def forget(self, wish: Wish) -> list[int]:
        """Reset."""
        return await reset(self.pool, wish, ["sums"], self.bodies)

    async def left(self) -> tuple[list[int], int]:
        """Return the partitions that have rows, and how many bodies there are."""
        rows = await self.pool.fetch("SELECT DISTINCT partition FROM sums ORDER BY 1")
        return [row["partition"] for row in rows], len(await self.bodies.names(""))


@pytest.fixture
async def yard(database_url: str, tmp_path: Path) -> AsyncIterator[Yard]:
    """A fresh schema in this module's database."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "bodies").mkdir()
    (tmp_path / "sql" / "0001_sums.sql").write_text(
        "-- include: partitions\n-- include: partitions_v2\nCREATE TABLE sums (partition int, value bigint);"
    )
    pool = await connect(database_url, schema="counting", deadline_ms=20_000, clock=SystemClock())
    async with pool:
        await pool.execute("DROP SCHEMA IF EXISTS counting CASCADE")
        await migrate(pool, "counting", tmp_path / "sql")
        yield Yard(pool, tmp_path / "bodies")


async def test_after_an_orderly_end(yard: Yard) -> None:
    """Everything of all partitions goes, and the next owner begins with nothing at a higher epoch."""
    await yard.fill()
    for lease in yard.leases:
        await yard.store.release(lease)
    assert await yard.forget(Wish()) == [0, 1]
    assert await yard.left() == ([], 0)
    assert await yard.store.acquire(1, "next") == Lease(1, 3, None, {}, {})


async def test_one_partition(yard: Yard) -> None:
    """The others keep what they have."""
    await yard.fill()
    await yard.store.release(yard.leases[1])
    assert await yard.forget(Wish(partition=1)) == [1]
    assert await yard.left() == ([0], 2)
    await yard.store.publish(yard.leases[0], {"exposures": 6}, 1)


async def test_an_owner_at_work(yard: Yard) -> None:
    """While an owner is at work nothing changes, and the refusal names it; by force it is fenced."""
    await yard.fill()
    with pytest.raises(Refused, match="partition 0 is worker 0's, partition 1 is worker 1's") as error:
        await yard.forget(Wish())
    assert "--force" in error.value.next_step
    assert await yard.left() == ([0, 1], 4)
    await yard.forget(Wish(force=True))
    assert await yard.left() == ([], 0)
    with pytest.raises(Fenced):
        await yard.store.publish(yard.leases[0], {"exposures": 6}, 1)


class SlowBodies(DirectoryBodies):
    """A place where removing takes so long that the fenced owner has the partition back before it is done."""

    def __init__(self, folder: Path, store: PostgresPartitionStore[int]) -> None:
        super().__init__(folder)
        self._store = store

    async def delete(self, name: str) -> None:
        """Remove the file after a take-over, by an owner that saves at once."""
        for number in (0, 1):
            lease = await self._store.acquire(number, "back again")
            await self._store.save_snapshot(lease, seal(number, {"exposures": 1}, [b"new"]))
        await super().delete(name)


async def test_an_owner_that_is_back_at_once(yard: Yard) -> None:
    """By force, what was reset is reset though its owner takes the partitions again before the old bodies are
    removed: they go, those of the new owner stay, and the command succeeds."""
    await yard.fill()
    slow = SlowBodies(yard.folder, yard.store)
    assert await reset(yard.pool, Wish(force=True), ["sums"], slow) == [0, 1]
    for number in (0, 1):
        lease = await yard.store.acquire(number, "next")
        assert lease.snapshot_offsets == {"exposures": 1}
        assert lease.snapshot is not None
    rows = await yard.pool.fetch("SELECT location FROM partition_snapshots")
    named = {row["location"].rpartition("/")[2] for row in rows}
    assert set(await yard.bodies.names("")) == named


async def test_an_owner_that_was_killed(yard: Yard) -> None:
    """One that has said nothing for long counts as gone."""
    await yard.fill()
    await yard.pool.execute("UPDATE partition_leases SET seen_at = now() - interval '21 s'")
    assert await yard.forget(Wish()) == [0, 1]


async def test_nothing_to_reset(yard: Yard) -> None:
    """A partition that nobody ever owned is refused."""
    await yard.fill()
    with pytest.raises(NotFound, match="never an owner"):
        await yard.forget(Wish(partition=7))
