"""A snapshot that is on its way holds nobody up, and one that nobody may write is never read."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Connection, Pool, connect
from libs.common.errors import Fenced
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.common.partitions.snapshots import seal
from tests.contract.partitions.suite import chunks_of
from tests.integration.partitions.wire import Wire, wire_to

DEADLINE_S = 10
"""Shorter than a statement may take."""
LARGE = random.Random(7).randbytes(4_000_000)
_ROWS = "SELECT number, epoch, broken FROM partition_snapshots ORDER BY number"


async def write_sum(connection: Connection, partition: int, rows: int) -> None:
    await connection.execute("INSERT INTO sums VALUES ($1, $2)", partition, rows)


@dataclass
class Pair:
    """An owner whose wire can be held up, and another one."""

    wire: Wire
    near: Pool
    slow: PostgresPartitionStore[int]
    other: PostgresPartitionStore[int]

    async def rows(self) -> list[tuple[int, int, bool]]:
        """Return number, epoch and `broken` of every snapshot."""
        return [tuple(row) for row in await self.near.fetch(_ROWS)]


@pytest.fixture
async def pair(database_url: str, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two owners on a fresh schema in this module's database."""
    (tmp_path / "0001_sums.sql").write_text(
        "-- include: partitions\n-- include: partitions_v2\nCREATE TABLE sums (partition int, value bigint);"
    )
    clock = SystemClock()
    async with wire_to(database_url) as (wire, url):
        near = await connect(database_url, schema="counting", deadline_ms=20_000, clock=clock)
        async with near:
            await near.execute("DROP SCHEMA IF EXISTS counting CASCADE")
            await migrate(near, "counting", tmp_path)
            far = await connect(url, schema="counting", deadline_ms=20_000, clock=clock)
            try:
                yield Pair(
                    wire,
                    near,
                    PostgresPartitionStore(far, write_sum),
                    PostgresPartitionStore(near, write_sum),
                )
            finally:
                wire.release()
                far.terminate()


async def test_a_save_that_stalls(pair: Pair) -> None:
    """While the body of a snapshot is stuck on its way, its owner publishes and another one takes the
    partition over; the save is fenced then, its snapshot is never loaded, and the next save removes it."""
    lease = await pair.slow.acquire(0, "me")
    await pair.slow.save_snapshot(lease, seal(0, {"exposures": 1}, [b"good"]))
    pair.wire.hold()
    save = asyncio.create_task(pair.slow.save_snapshot(lease, seal(0, {"exposures": 2}, [LARGE])))
    async with asyncio.timeout(DEADLINE_S):
        await pair.wire.stalled.wait()
        await pair.slow.publish(lease, {"exposures": 5}, 1)
        new = await pair.other.acquire(0, "another")
    assert not save.done()
    assert (chunks_of(new), new.published_offsets) == ([b"good"], {"exposures": 5})
    pair.wire.release()
    with pytest.raises(Fenced, match="epoch 1"):
        await save
    third = await pair.other.acquire(0, "a third")
    assert chunks_of(third) == [b"good"]
    await pair.other.save_snapshot(third, seal(0, {"exposures": 6}, [b"better"]))
    assert await pair.rows() == [(1, 1, False), (2, 3, False)]
    assert chunks_of(await pair.other.acquire(0, "me")) == [b"better"]


async def test_a_save_that_was_slow(pair: Pair) -> None:
    """An owner that was held up and is still the owner has its snapshot in the end, as the newest."""
    lease = await pair.slow.acquire(0, "me")
    pair.wire.hold()
    save = asyncio.create_task(pair.slow.save_snapshot(lease, seal(0, {"exposures": 2}, [LARGE])))
    async with asyncio.timeout(DEADLINE_S):
        await pair.wire.stalled.wait()
    pair.wire.release()
    await save
    assert await pair.rows() == [(1, 1, False)]
    assert chunks_of(await pair.other.acquire(0, "another")) == [LARGE]


async def test_who_dies_while_saving(pair: Pair) -> None:
    """What an owner left that died, or failed, between the body and its being shown is never loaded; the next
    save removes it, and leaves alone what a newer owner is about to show."""
    lease = await pair.other.acquire(0, "me")
    await pair.other.save_snapshot(lease, seal(0, {"exposures": 1}, [b"good"]))
    lease = await pair.other.acquire(0, "me")
    for number, epoch in ((-7, 1), (-8, 2), (-9, 3)):
        await pair.near.execute(
            "INSERT INTO partition_snapshots"
            " (partition, number, epoch, format, offsets, checksum, body, broken)"
            " SELECT partition, $1, $2, format, offsets, checksum, 'half', true FROM partition_snapshots"
            " WHERE number = 1",
            number,
            epoch,
        )
    await pair.other.save_snapshot(lease, seal(0, {"exposures": 2}, [b"better"]))
    assert await pair.rows() == [(-9, 3, True), (1, 1, False), (2, 2, False)]
    assert chunks_of(await pair.other.acquire(0, "me")) == [b"better"]
