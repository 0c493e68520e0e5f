"""Rows that wait for PostgreSQL are given up, kept, and written in the end, once."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Record
from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Connection, Pool, connect
from libs.common.partitions import publisher as module
from libs.common.partitions.burial import Burial
from libs.common.partitions.held import Held
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.ports import Rejected
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.common.partitions.publisher import Publisher

DEADLINE_S = 10
"""Shorter than a statement may take."""
_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE'
"""
_LOCK = "SELECT epoch FROM partition_leases WHERE partition = 0 FOR UPDATE"


class Total:
    """A state that counts records."""

    def __init__(self) -> None:
        self.count = self._told = 0

    def fold(self, topic: str, batch: Batch) -> Sequence[Rejected]:
        """Count them."""
        self.count += len(batch)
        return ()

    def changed(self) -> bool:
        """Return True when the count is not the one that was told last."""
        return self.count != self._told

    def rows(self) -> int:
        """Return the count."""
        self._told = self.count
        return self.count

    def mark(self) -> None:
        """Forget nothing."""

    def dump(self) -> Iterator[bytes]:
        """Return the count."""
        return iter([b"%d" % self.count])


async def write_total(connection: Connection, partition: int, rows: int) -> None:
    await connection.execute("INSERT INTO totals VALUES ($1, $2)", partition, rows)


class Desk:
    """One partition that is ours, its publisher, and the pool behind it."""

    def __init__(self, pool: Pool, held: Held[int], own: Ownership[int], publisher: Publisher[int]) -> None:
        self.pool, self.held, self.own, self.publisher = pool, held, own, publisher

    def fold(self) -> None:
        """Fold one more record."""
        record = Record("exposures", 0, self.held.offsets["exposures"], 0, b"unit", b"1")
        self.held.fold("exposures", Batch.of([record]))
        self.held.passages.clear()

    async def totals(self) -> list[int]:
        """Return what was written, in order."""
        return [row["total"] for row in await self.pool.fetch("SELECT total FROM totals ORDER BY total")]

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Keep the row of the lease, as somebody does who stands still in a transaction."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.fetchval(_LOCK)
            yield

    async def until_stuck(self) -> None:
        """Return when a publish waits for that row."""
        async with asyncio.timeout(DEADLINE_S):
            while not await self.pool.fetchval(_WAITING):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk on a fresh schema in this module's database."""
    (tmp_path / "0001_totals.sql").write_text(
        "-- include: partitions\n-- include: partitions_v2\n"
        "CREATE TABLE totals (partition int, total bigint);"
    )
    clock = SystemClock()
    pool = await connect(database_url, schema="counting", deadline_ms=20_000, clock=clock, max_size=3)
    async with pool:
        await pool.execute("DROP SCHEMA IF EXISTS counting CASCADE")
        await migrate(pool, "counting", tmp_path)
        store: PostgresPartitionStore[int] = PostgresPartitionStore(pool, write_total)
        own: Ownership[int] = Ownership(store, lambda *_: Total(), "me", clock, 1_000)
        state: Any = Total()
        held: Held[int] = Held(await store.acquire(0, "me"), state, {"exposures": 0}, {"exposures": 0}, {}, 0)
        own.held[0] = held
        letters = DeadLetters(MemoryBus(clock).producer(), source="test", clock=clock)
        yield Desk(pool, held, own, Publisher(store, own, Burial(letters, own)))


async def test_a_write_that_takes_too_long(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up and told; what was folded meanwhile comes after it when PostgreSQL goes on."""
    monkeypatch.setattr(module, "LONGEST_MS", 300)
    desk.fold()
    async with desk.locked():
        desk.publisher.publish()
        async with asyncio.timeout(DEADLINE_S):
            await desk.publisher.end()
        assert "partition 0" in desk.publisher.trouble
        desk.fold()
    monkeypatch.undo()
    for _ in range(2):
        desk.publisher.publish()
        await desk.publisher.end()
    assert (await desk.totals(), desk.publisher.trouble) == ([1, 2], "")
    assert desk.held.covered == {"exposures": 2}


async def test_given_up_in_the_middle(desk: Desk) -> None:
    """A write that is cancelled while PostgreSQL keeps it waiting leaves nothing behind: no row, no lock, and
    as many connections as before."""
    for _ in range(4):
        desk.fold()
        async with desk.locked():
            desk.publisher.publish()
            await desk.until_stuck()
            async with asyncio.timeout(DEADLINE_S):
                await desk.publisher.cancel()
        assert await desk.totals() == []
    for _ in range(2):
        desk.publisher.publish()
        await desk.publisher.end()
    assert await desk.totals() == [1, 4]
    assert desk.pool.get_idle_size() == desk.pool.get_size()
