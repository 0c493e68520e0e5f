"""A partition store in PostgreSQL: the tables of `sql/` in the service's own schema. The bodies of snapshots
may lie outside; the rows that name them, and all that decides who may write, do not."""

import asyncio
import json
import logging
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, TypeAlias

from libs.common.db.pool import Connection, Pool, outages
from libs.common.errors import Poison
from libs.common.partitions.bodies.outside import OutsideBodies
from libs.common.partitions.bodies.ports import SnapshotBodies
from libs.common.partitions.copying import binary_row
from libs.common.partitions.ports import Lease, RowsT
from libs.common.partitions.rules import KEPT_SNAPSHOTS, fenced, merged
from libs.common.partitions.snapshots import Snapshot, unseal

log = logging.getLogger(__name__)

Writer: TypeAlias = Callable[[Connection, int, RowsT], Awaitable[None]]
"""Writes the rows of a partition on a connection that is in a transaction."""

BODY_TIMEOUT_MS = 120_000
"""For a statement that carries a whole snapshot."""

_ACQUIRE = """
INSERT INTO partition_leases AS lease (partition, epoch, owner, seen_at) VALUES ($1, 1, $2, now())
ON CONFLICT (partition) DO UPDATE
SET epoch = lease.epoch + 1, owner = excluded.owner, acquired_at = now(), seen_at = now()
RETURNING epoch, published_offsets
"""
_LOCK = "SELECT published_offsets FROM partition_leases WHERE partition = $1 AND epoch = $2 FOR UPDATE"
_PUBLISH = """
UPDATE partition_leases SET published_offsets = $3, published_at = now(), seen_at = now()
WHERE partition = $1 AND epoch = $2
"""
_RENEW = "UPDATE partition_leases SET seen_at = now() WHERE partition = $1 AND epoch = $2 RETURNING 1"
_RELEASE = "UPDATE partition_leases SET seen_at = NULL WHERE partition = $1 AND epoch = $2"
_SNAPSHOTS = "SELECT number FROM partition_snapshots WHERE partition = $1 AND NOT broken ORDER BY number DESC"
_LOAD = """
SELECT number, format, offsets, checksum, body, location FROM partition_snapshots
WHERE partition = $1 AND number = $2
"""
_BROKEN = "UPDATE partition_snapshots SET broken = true WHERE partition = $1 AND number = $2"
_NEXT = "SELECT coalesce(max(number), 0) + 1 FROM partition_snapshots WHERE partition = $1"
_SNAPSHOT = ("partition", "number", "epoch", "format", "offsets", "checksum")
_JSONB = b"\x01"
"""The version that jsonb is sent with."""
_PRUNE = """
DELETE FROM partition_snapshots WHERE partition = $1 AND number NOT IN (
    SELECT number FROM partition_snapshots WHERE partition = $1 AND NOT broken ORDER BY number DESC LIMIT $2
) RETURNING location
"""


class PostgresPartitionStore(Generic[RowsT]):
    """Keeps the promises of `ports.PartitionStore`. Raises Retryable when PostgreSQL does not answer.

    The row of the lease is locked while one writes, so whoever takes the partition over waits for a write
    that is under way, and none with an older epoch commits afterwards.
    """

    def __init__(self, pool: Pool, writer: Writer[RowsT], bodies: SnapshotBodies | None = None) -> None:
        """`bodies` is where the bodies of new snapshots go; None: into the table."""
        self._pool = pool
        self._writer = writer
        self._outside = OutsideBodies(pool, bodies)

    async def acquire(self, partition: int, owner: str) -> Lease:
        """Take the partition over. A snapshot that is broken, or whose body is missing, is marked and logged,
        and the one before it is used. A place outside that does not answer, or is not there, raises."""
        with outages(f"taking partition {partition}"):
            async with self._pool.acquire() as connection:
                row = await connection.fetchrow(_ACQUIRE, partition, owner)
                assert row is not None
                dump, offsets = await self._load(connection, partition)
        return Lease(partition, row["epoch"], dump, offsets, json.loads(row["published_offsets"]))

    async def publish(self, lease: Lease, offsets: Mapping[str, int], rows: RowsT) -> None:
        """Write rows and offsets in one transaction. Raises Fenced, and Refused for offsets that go back."""
        with outages(f"publishing partition {lease.partition}"):
            async with self._pool.acquire() as connection, connection.transaction():
                covered = merged(await self._lock(connection, lease), offsets)
                await self._writer(connection, lease.partition, rows)
                await connection.execute(_PUBLISH, lease.partition, lease.epoch, json.dumps(covered))

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """Add a snapshot; the last two good ones stay. Raises Fenced; for a place outside also what its `put`
        raises. The body is there before the row that names it, and goes after it."""
        with outages(f"saving a snapshot of partition {lease.partition}"):
            location = await self._outside.put(lease, snapshot.body)
            async with self._pool.acquire() as connection, connection.transaction():
                await self._lock(connection, lease)  # so that nobody else takes the number
                number = await connection.fetchval(_NEXT, lease.partition)
                await connection.copy_to_table(
                    "partition_snapshots",
                    columns=[*_SNAPSHOT, "body" if location is None else "location"],
                    source=binary_row(
                        [
                            struct.pack("!i", lease.partition),
                            struct.pack("!q", number),
                            struct.pack("!q", lease.epoch),
                            struct.pack("!i", snapshot.format),
                            _JSONB + json.dumps(dict(snapshot.offsets)).encode(),
                            snapshot.checksum,
                            snapshot.body if location is None else location.encode(),
                        ]
                    ),
                    format="binary",
                    timeout=BODY_TIMEOUT_MS / 1_000,
                )
                pruned = await connection.fetch(_PRUNE, lease.partition, KEPT_SNAPSHOTS)
            await self._outside.tidy(lease, [row["location"] for row in pruned if row["location"]])

    async def renew(self, lease: Lease) -> None:
        """Say that the owner is at work. Raises Fenced."""
        with outages(f"renewing the lease of partition {lease.partition}"):
            if await self._pool.fetchval(_RENEW, lease.partition, lease.epoch) is None:
                raise fenced(lease)

    async def release(self, lease: Lease) -> None:
        """Say that the owner has left in order."""
        with outages(f"releasing the lease of partition {lease.partition}"):
            await self._pool.execute(_RELEASE, lease.partition, lease.epoch)

    async def _lock(self, connection: Connection, lease: Lease) -> Mapping[str, int]:
        published = await connection.fetchval(_LOCK, lease.partition, lease.epoch)
        if published is None:
            raise fenced(lease)
        offsets: Mapping[str, int] = json.loads(published)
        return offsets

    async def _load(
        self, connection: Connection, partition: int
    ) -> tuple[Iterable[bytes] | None, Mapping[str, int]]:
        for each in await connection.fetch(_SNAPSHOTS, partition):
            row = await connection.fetchrow(_LOAD, partition, each["number"], timeout=BODY_TIMEOUT_MS / 1_000)
            if row is None:
                continue  # a newer owner has removed it: we are fenced, whatever we load
            offsets: Mapping[str, int] = json.loads(row["offsets"])
            try:
                body = row["body"] if row["location"] is None else await self._outside.get(row["location"])
                snapshot = Snapshot(partition, offsets, row["format"], row["checksum"], body)
                return await asyncio.to_thread(unseal, snapshot), offsets
            except Poison as error:
                log.error("snapshot %d: %s; falling back to the one before", row["number"], error.message)
                await connection.execute(_BROKEN, partition, row["number"])
        return None, {}
