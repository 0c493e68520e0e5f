"""The store in PostgreSQL keeps the contract, and what only a database can do wrong."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Connection, Pool, connect
from libs.common.errors import Fenced, Retryable
from libs.common.partitions.postgres import PostgresPartitionStore
from tests.contract.partitions.suite import Rows, StoreContract

_UPSERT = """
INSERT INTO sums (partition, key, value) VALUES ($1, $2, $3)
ON CONFLICT (partition, key) DO UPDATE SET value = excluded.value
"""


async def write_sums(connection: Connection, partition: int, rows: Rows) -> None:
    await connection.executemany(_UPSERT, [(partition, key, value) for key, value in rows.items()])


class PostgresBench:
    """A store on a schema of its own."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.store: PostgresPartitionStore[Rows] = PostgresPartitionStore(pool, write_sums)

    async def published(self, partition: int) -> Rows:
        """Return the table's rows."""
        rows = await self.pool.fetch("SELECT key, value FROM sums WHERE partition = $1", partition)
        return {row["key"]: row["value"] for row in rows}

    async def damage(self, partition: int) -> None:
        """Flip a bit in the newest snapshot that counts as good."""
        await self.pool.execute(
            "UPDATE partition_snapshots SET body = set_bit(body, 9, 1 - get_bit(body, 9))"
            " WHERE partition = $1 AND number ="
            " (SELECT max(number) FROM partition_snapshots WHERE partition = $1 AND NOT broken)",
            partition,
        )


@pytest.fixture
async def bench(database_url: str, tmp_path: Path) -> AsyncIterator[PostgresBench]:
    """A fresh schema in this module's database."""
    (tmp_path / "0001_sums.sql").write_text(
        "-- include: partitions\n"
        "CREATE TABLE sums (partition int, key text, value bigint, PRIMARY KEY (partition, key));"
    )
    pool = await connect(database_url, schema="counting", deadline_ms=20_000, clock=SystemClock())
    async with pool:
        await pool.execute("DROP SCHEMA IF EXISTS counting CASCADE")
        await migrate(pool, "counting", tmp_path)
        yield PostgresBench(pool)


class TestPostgresPartitionStore(StoreContract):
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
            await bench.store.save_snapshot(lease, {"exposures": number}, b"state")
        kept = await bench.pool.fetch("SELECT number FROM partition_snapshots ORDER BY number")
        assert [row["number"] for row in kept] == [4, 5]

    async def test_a_database_that_is_away(self, bench: PostgresBench) -> None:
        """Every call on a closed pool is Retryable."""
        lease = await bench.store.acquire(0, "me")
        await bench.pool.close()
        for call in (
            bench.store.acquire(0, "me"),
            bench.store.publish(lease, {"exposures": 1}, {}),
            bench.store.save_snapshot(lease, {"exposures": 1}, b""),
        ):
            with pytest.raises(Retryable):
                await call
