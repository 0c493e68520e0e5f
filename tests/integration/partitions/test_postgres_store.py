"""The store in PostgreSQL keeps the contract, and what only a database can do wrong."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Connection, Pool, connect
from libs.common.errors import Fenced, Retryable
from libs.common.partitions.bodies.places import bodies_at
from libs.common.partitions.bodies.ports import SnapshotBodies
from libs.common.partitions.postgres import PostgresPartitionStore
from tests.contract.partitions.owners import OwnersContract
from tests.contract.partitions.suite import Rows, StoreContract, chunks_of, save

_UPSERT = """
INSERT INTO sums (partition, key, value) VALUES ($1, $2, $3)
ON CONFLICT (partition, key) DO UPDATE SET value = excluded.value
"""


async def write_sums(connection: Connection, partition: int, rows: Rows) -> None:
    await connection.executemany(_UPSERT, [(partition, key, value) for key, value in rows.items()])


class PostgresBench:
    """A store on a schema of its own."""

    def __init__(self, pool: Pool, bodies: SnapshotBodies | None) -> None:
        self.pool = pool
        self.bodies = bodies
        self.store: PostgresPartitionStore[Rows] = PostgresPartitionStore(pool, write_sums, bodies)

    async def published(self, partition: int) -> Rows:
        """Return the table's rows."""
        rows = await self.pool.fetch("SELECT key, value FROM sums WHERE partition = $1", partition)
        return {row["key"]: row["value"] for row in rows}

    async def at_work(self, partition: int) -> bool:
        """Return whether the owner was seen."""
        statement = "SELECT seen_at IS NOT NULL FROM partition_leases WHERE partition = $1"
        return bool(await self.pool.fetchval(statement, partition))

    async def damage(self, partition: int) -> None:
        """Flip a bit in the newest snapshot that counts as good."""
        row = await self.pool.fetchrow(
            "SELECT number, body, location FROM partition_snapshots"
            " WHERE partition = $1 AND NOT broken ORDER BY number DESC LIMIT 1",
            partition,
        )
        assert row is not None
        if self.bodies is None:
            await self.pool.execute(
                "UPDATE partition_snapshots SET body = $3 WHERE partition = $1 AND number = $2",
                partition,
                row["number"],
                flipped(row["body"]),
            )
        else:
            name = row["location"].removeprefix(self.bodies.url + "/")
            await self.bodies.put(name, flipped(await self.bodies.get(name)))


def flipped(body: bytes) -> bytes:
    return bytes([body[0] ^ 1]) + body[1:]


def place_of(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> SnapshotBodies | None:
    """Return a place of this kind, empty."""
    if kind == "directory":
        (tmp_path / "bodies").mkdir()
        return bodies_at(f"file://{tmp_path}/bodies")
    if kind == "s3":
        return bodies_at(f"s3://{request.getfixturevalue('s3_bucket')}/snapshots")
    return bodies_at("postgres")


@pytest.fixture(params=["postgres", "directory", "s3"])
async def bench(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[PostgresBench]:
    """A fresh schema in this module's database, with the bodies of snapshots in each kind of place."""
    bodies = place_of(request.param, tmp_path, request)
    (tmp_path / "0001_sums.sql").write_text(
        "-- include: partitions\n-- include: partitions_v2\n"
        "CREATE TABLE sums (partition int, key text, value bigint, PRIMARY KEY (partition, key));"
    )
    pool = await connect(database_url, schema="counting", deadline_ms=20_000, clock=SystemClock())
    async with pool:
        await pool.execute("DROP SCHEMA IF EXISTS counting CASCADE")
        await migrate(pool, "counting", tmp_path)
        yield PostgresBench(pool, bodies)


class TestPostgresPartitionStore(StoreContract, OwnersContract):
    """All promises, and what only a database can do wrong."""

    async def test_a_writer_that_fails(self, bench: PostgresBench) -> None:
        """When the rows cannot be written the offsets are not either."""

        async def broken(connection: Connection, partition: int, rows: Rows) -> None:
            await write_sums(connection, partition, rows)
            raise Retryable("not now")

        lease = await bench.store.acquire(0, "me")
        with pytest.raises(Retryable, match="not now"):
            await PostgresPartitionStore(bench.pool, broken).publish(lease, {"exposures": 1}, {"a": 1})
        assert await bench.published(0) == {}
        assert (await bench.store.acquire(0, "me")).published_offsets == {}

    async def test_a_connection_that_is_cut(self, bench: PostgresBench) -> None:
        """A connection that is lost in mid-transaction is Retryable, nothing of it is seen, and the same call
        succeeds on the next one."""
        cuts = 1

        async def cut(connection: Connection, partition: int, rows: Rows) -> None:
            nonlocal cuts
            await write_sums(connection, partition, rows)
            if cuts:
                cuts -= 1
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        store = PostgresPartitionStore(bench.pool, cut)
        lease = await store.acquire(0, "me")
        with pytest.raises(Retryable, match="publishing partition 0"):
            await store.publish(lease, {"exposures": 1}, {"a": 1})
        assert await bench.published(0) == {}
        await store.publish(lease, {"exposures": 1}, {"a": 1})
        assert await bench.published(0) == {"a": 1}

    async def test_a_take_over_waits_for_a_write(self, bench: PostgresBench) -> None:
        """Whoever takes a partition over while the old owner writes gets it after that write, and sees it."""
        writing, go_on = asyncio.Event(), asyncio.Event()

        async def slow(connection: Connection, partition: int, rows: Rows) -> None:
            writing.set()
            await go_on.wait()
            await write_sums(connection, partition, rows)

        store = PostgresPartitionStore(bench.pool, slow)
        old = await store.acquire(0, "me")
        write = asyncio.create_task(store.publish(old, {"exposures": 4}, {"a": 1}))
        await writing.wait()
        take = asyncio.create_task(bench.store.acquire(0, "another"))
        done, _ = await asyncio.wait({take}, timeout=0.3)
        assert not done
        go_on.set()
        await write
        assert (await take).published_offsets == {"exposures": 4}
        with pytest.raises(Fenced):
            await store.publish(old, {"exposures": 5}, {"a": 2})

    async def test_only_what_is_needed_is_kept(self, bench: PostgresBench) -> None:
        """However many snapshots are saved, two stay."""
        lease = await bench.store.acquire(0, "me")
        for number in range(5):
            await save(bench, lease, {"exposures": number}, b"state")
        kept = await bench.pool.fetch("SELECT number FROM partition_snapshots ORDER BY number")
        assert [row["number"] for row in kept] == [4, 5]
        if bench.bodies is not None:
            assert len(await bench.bodies.names("")) == 2

    async def test_what_the_dead_left(self, bench: PostgresBench) -> None:
        """Bodies that no row names are removed after the next snapshot: those of this owner and of older
        ones, of this partition and database, and no others."""
        if bench.bodies is None:
            return
        lease = await bench.store.acquire(1, "me")
        lease = await bench.store.acquire(1, "me")
        await save(bench, lease, {"exposures": 1}, b"state")
        (named,) = await bench.bodies.names("")
        dead = [named.replace("-e2-n1", "-e1-n9"), named.replace("-e2-n1", "-e2-n9")]
        others = [
            named.replace("-e2-n1", "-e3-n1"),
            named.replace("-p1-", "-p11-"),
            named.replace("counting-", "counting-0"),
        ]
        for name in (*dead, *others):
            await bench.bodies.put(name, b"")
        await save(bench, lease, {"exposures": 2}, b"state")
        assert set(await bench.bodies.names("")) == {named, named.replace("-n1", "-n2"), *others}

    async def test_a_zombie_leaves_the_bodies_alone(self, bench: PostgresBench) -> None:
        """Whoever is fenced while it writes a body overwrites and removes nothing of the new owner's."""
        old = await bench.store.acquire(0, "me")
        new = await bench.store.acquire(0, "another")
        await save(bench, new, {"exposures": 5}, b"good")
        with pytest.raises(Fenced):
            await save(bench, old, {"exposures": 9}, b"zombie")
        assert chunks_of(await bench.store.acquire(0, "a third")) == [b"good"]

    async def test_a_missing_body(self, bench: PostgresBench, caplog: pytest.LogCaptureFixture) -> None:
        """When the body of a snapshot has gone the one before is used, and the log says what to do. The
        snapshot is not given up: once its body is back it is used again."""
        if bench.bodies is None:
            return
        lease = await bench.store.acquire(0, "me")
        await save(bench, lease, {"exposures": 1}, b"state 1")
        await save(bench, lease, {"exposures": 2}, b"state 2")
        newest = (await bench.bodies.names(""))[-1]
        body = await bench.bodies.get(newest)
        await bench.bodies.delete(newest)
        after = await bench.store.acquire(0, "me")
        assert (chunks_of(after), after.snapshot_offsets) == ([b"state 1"], {"exposures": 1})
        assert f"{newest} is missing" in caplog.text
        assert "bring it back" in caplog.text
        await bench.bodies.put(newest, body)
        assert chunks_of(await bench.store.acquire(0, "me")) == [b"state 2"]

    async def test_a_missing_body_counts_for_nothing(self, bench: PostgresBench) -> None:
        """The one before a missing one stays until two that are there are newer."""
        if bench.bodies is None:
            return
        lease = await bench.store.acquire(0, "me")
        for number in (1, 2):
            await save(bench, lease, {"exposures": number}, b"state %d" % number)
        await bench.bodies.delete((await bench.bodies.names(""))[-1])
        lease = await bench.store.acquire(0, "me")
        await save(bench, lease, {"exposures": 3}, b"state 3")
        await bench.damage(0)
        assert chunks_of(await bench.store.acquire(0, "me")) == [b"state 1"]

    async def test_an_empty_mount_point(self, bench: PostgresBench) -> None:
        """When no body is there, an owner begins anew and saves beside the emptiness; once the old bodies are
        back, and the new ones hidden by them, the next owner has the old state."""
        if bench.bodies is None:
            return
        lease = await bench.store.acquire(0, "me")
        for number in (1, 2):
            await save(bench, lease, {"exposures": number}, b"state %d" % number)
        old = {name: await bench.bodies.get(name) for name in await bench.bodies.names("")}
        for name in old:
            await bench.bodies.delete(name)
        lease = await bench.store.acquire(0, "me")
        assert lease.snapshot is None
        for _ in range(3):
            await save(bench, lease, {"exposures": 0}, b"anew")
        for name in await bench.bodies.names(""):
            await bench.bodies.delete(name)
        for name, body in old.items():
            await bench.bodies.put(name, body)
        assert chunks_of(await bench.store.acquire(0, "me")) == [b"state 2"]

    async def test_another_place(self, bench: PostgresBench, tmp_path: Path) -> None:
        """After SNAPSHOT_URL has changed, the snapshots that are there are used and pruned where they lie."""
        lease = await bench.store.acquire(0, "me")
        await save(bench, lease, {"exposures": 1}, b"state 1")
        (tmp_path / "new").mkdir()
        moved = PostgresBench(bench.pool, bodies_at(f"file://{tmp_path}/new"))
        lease = await moved.store.acquire(0, "me")
        assert chunks_of(lease) == [b"state 1"]
        for number in (2, 3):
            await save(moved, lease, {"exposures": number}, b"state %d" % number)
        assert len(os.listdir(tmp_path / "new")) == 2
        if bench.bodies is not None:
            assert list(await bench.bodies.names("")) == []
        back = await bench.store.acquire(0, "me")
        assert chunks_of(back) == [b"state 3"]

    async def test_a_database_that_is_away(self, bench: PostgresBench) -> None:
        """Every call on a closed pool is Retryable."""
        lease = await bench.store.acquire(0, "me")
        await bench.pool.close()
        for call in (
            bench.store.acquire(0, "me"),
            bench.store.publish(lease, {"exposures": 1}, {}),
            save(bench, lease, {"exposures": 1}, b""),
            bench.store.renew(lease),
            bench.store.release(lease),
        ):
            with pytest.raises(Retryable):
                await call
