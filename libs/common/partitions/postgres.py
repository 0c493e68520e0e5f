"""A partition store in PostgreSQL: the tables of `sql/` in the service's own schema. The bodies of snapshots
may lie outside; the rows that name them, and all that decides who may write, do not."""

import asyncio
import json
import logging
import secrets
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, TypeAlias

from libs.common.db.pool import Connection, Pool, outages
from libs.common.errors import NotFound, Poison, Retryable
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
_SHOW = """
UPDATE partition_snapshots SET broken = false, number = (
    SELECT greatest(max(number), 0) + 1 FROM partition_snapshots WHERE partition = $1
) WHERE partition = $1 AND number = $2 RETURNING 1
"""
"""Touches no body: what lies beside the table stays where it is."""
_LEFT = "DELETE FROM partition_snapshots WHERE partition = $1 AND number < 0 AND epoch <= $2"
_SNAPSHOT = ("partition", "number", "epoch", "format", "offsets", "checksum", "broken")
_JSONB = b"\x01"
"""The version that jsonb is sent with."""
_TRUE = b"\x01"
_PRUNE = """
DELETE FROM partition_snapshots WHERE partition = $1 AND number > 0 AND number <> ALL($3) AND number NOT IN (
    SELECT number FROM partition_snapshots WHERE partition = $1 AND NOT broken AND number <> ALL($3)
    ORDER BY number DESC LIMIT $2
) RETURNING location
"""


class PostgresPartitionStore(Generic[RowsT]):
    """Keeps the promises of `ports.PartitionStore`. Raises Retryable when PostgreSQL does not answer.

    The row of the lease is locked while one publishes or shows a snapshot, so whoever takes the partition
    over waits for a write that is under way, and none with an older epoch commits afterwards.
    """

    def __init__(self, pool: Pool, writer: Writer[RowsT], bodies: SnapshotBodies | None = None) -> None:
        """`bodies` is where the bodies of new snapshots go; None: into the table."""
        self._pool = pool
        self._writer = writer
        self._outside = OutsideBodies(pool, bodies)
        self._missing: dict[int, list[int]] = {}
        """Per partition, the snapshots whose bodies were not there when it was taken over: they count for
        nothing, and stay while this owner does."""

    async def acquire(self, partition: int, owner: str) -> Lease:
        """Take the partition over. A snapshot that is broken is marked and logged, and the one before it is
        used. So it is when a body is missing, but that one is not marked: it may be back the next time. A
        place outside that does not answer, or is not there, raises."""
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
        raises. The body is there before the row that names it, and goes after it.

        The body travels without the lock of the lease: publishing goes on, and an owner that stands still in
        the middle of it keeps nobody from taking over.
        """
        with outages(f"saving a snapshot of partition {lease.partition}"):
            location = await self._outside.put(lease, snapshot.body)
            async with self._pool.acquire() as connection:
                hidden = await self._bring(connection, lease, snapshot, location)
                async with connection.transaction():
                    await self._lock(connection, lease)
                    shown = await connection.fetchval(_SHOW, lease.partition, hidden)
                if shown is None:
                    raise Retryable(f"a snapshot of partition {lease.partition} went while it was written")
        await self._prune(lease)

    async def renew(self, lease: Lease) -> None:
        """Say that the owner is at work. Raises Fenced."""
        with outages(f"renewing the lease of partition {lease.partition}"):
            if await self._pool.fetchval(_RENEW, lease.partition, lease.epoch) is None:
                raise fenced(lease)

    async def release(self, lease: Lease) -> None:
        """Say that the owner has left in order."""
        with outages(f"releasing the lease of partition {lease.partition}"):
            await self._pool.execute(_RELEASE, lease.partition, lease.epoch)

    async def _bring(
        self, connection: Connection, lease: Lease, snapshot: Snapshot, location: str | None
    ) -> int:
        """Write the row as a broken one, which nobody loads, and return its number: a negative one that
        nobody else has. Whoever dies before it is shown, or is fenced, leaves it for the next save."""
        await connection.execute(_LEFT, lease.partition, lease.epoch, timeout=BODY_TIMEOUT_MS / 1_000)
        hidden = -1 - secrets.randbits(62)
        await connection.copy_to_table(
            "partition_snapshots",
            columns=[*_SNAPSHOT, "body" if location is None else "location"],
            source=binary_row(
                [
                    struct.pack("!i", lease.partition),
                    struct.pack("!q", hidden),
                    struct.pack("!q", lease.epoch),
                    struct.pack("!i", snapshot.format),
                    _JSONB + json.dumps(dict(snapshot.offsets)).encode(),
                    snapshot.checksum,
                    _TRUE,
                    snapshot.body if location is None else location.encode(),
                ]
            ),
            format="binary",
            timeout=BODY_TIMEOUT_MS / 1_000,
        )
        return hidden

    async def _prune(self, lease: Lease) -> None:
        """Remove what is not needed any more. The snapshot is saved whether this succeeds or not: what it
        leaves is removed after the next one."""
        try:
            with outages(f"removing old snapshots of partition {lease.partition}"):
                pruned = await self._pool.fetch(
                    _PRUNE,
                    lease.partition,
                    KEPT_SNAPSHOTS,
                    self._missing.get(lease.partition, []),
                    timeout=BODY_TIMEOUT_MS / 1_000,
                )
        except Retryable as error:
            log.warning("old snapshots are still there: %s", error.message)
            return
        await self._outside.tidy(lease, [row["location"] for row in pruned if row["location"]])

    async def _lock(self, connection: Connection, lease: Lease) -> Mapping[str, int]:
        published = await connection.fetchval(_LOCK, lease.partition, lease.epoch)
        if published is None:
            raise fenced(lease)
        offsets: Mapping[str, int] = json.loads(published)
        return offsets

    async def _load(
        self, connection: Connection, partition: int
    ) -> tuple[Iterable[bytes] | None, Mapping[str, int]]:
        missing = self._missing[partition] = []
        for each in await connection.fetch(_SNAPSHOTS, partition):
            row = await connection.fetchrow(_LOAD, partition, each["number"], timeout=BODY_TIMEOUT_MS / 1_000)
            if row is None:
                continue  # a newer owner has removed it: we are fenced, whatever we load
            offsets: Mapping[str, int] = json.loads(row["offsets"])
            try:
                body = row["body"] if row["location"] is None else await self._outside.get(row["location"])
                snapshot = Snapshot(partition, offsets, row["format"], row["checksum"], body)
                return await asyncio.to_thread(unseal, snapshot), offsets
            except NotFound as error:
                log.error("%s: %s; falling back to the one before", error.message, error.next_step)
                missing.append(row["number"])
            except Poison as error:
                log.error("snapshot %d: %s; falling back to the one before", row["number"], error.message)
                await connection.execute(_BROKEN, partition, row["number"])
        return None, {}
