"""A partition store in memory that keeps every promise of `ports.py`: for tests, and for trying things out.

It has what real stores have and tests need: `down()` and `up()` for an outage, `damage()` for bit rot.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic

from libs.common.errors import Poison, Retryable
from libs.common.partitions.ports import Lease, RowsT
from libs.common.partitions.rules import KEPT_SNAPSHOTS, fenced, merged
from libs.common.partitions.snapshots import Snapshot, unseal

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Row:
    epoch: int = 0
    owner: str = ""
    at_work: bool = False
    published_offsets: dict[str, int] = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=list)


class MemoryPartitionStore(Generic[RowsT]):
    """Keeps the promises of `ports.PartitionStore`."""

    def __init__(self) -> None:
        self.published: dict[int, list[RowsT]] = {}
        """Per partition, everything that was published, in order."""
        self._rows: dict[int, _Row] = {}
        self._down = False

    async def acquire(self, partition: int, owner: str) -> Lease:
        """Take the partition over. Raises Retryable while the store is down."""
        await self._answer()
        row = self._rows.setdefault(partition, _Row())
        row.epoch += 1
        row.owner = owner
        row.at_work = True
        dump, offsets = self._load(row)
        return Lease(partition, row.epoch, dump, offsets, dict(row.published_offsets))

    async def publish(self, lease: Lease, offsets: Mapping[str, int], rows: RowsT) -> None:
        """Write rows and offsets. Raises Fenced, Refused for offsets that go back, Retryable while down."""
        row = await self._mine(lease)
        row.published_offsets = merged(row.published_offsets, offsets)
        self.published.setdefault(lease.partition, []).append(rows)

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """Add a snapshot; the last two good ones stay. Raises Fenced, Retryable while down."""
        row = await self._mine(lease)
        row.snapshots.append(snapshot)
        del row.snapshots[:-KEPT_SNAPSHOTS]

    async def renew(self, lease: Lease) -> None:
        """Say that the owner is at work. Raises Fenced, Retryable while down."""
        (await self._mine(lease)).at_work = True

    async def release(self, lease: Lease) -> None:
        """Say that the owner has left. Raises Retryable while down."""
        await self._answer()
        row = self._rows.get(lease.partition)
        if row is not None and row.epoch == lease.epoch:
            row.at_work = False

    def lease_epoch(self, partition: int) -> int:
        """Return how often a partition was taken over."""
        return self._rows[partition].epoch if partition in self._rows else 0

    def at_work(self, partition: int) -> bool:
        """Return True from a take-over until its owner has left in order."""
        return partition in self._rows and self._rows[partition].at_work

    def published_offsets(self, partition: int) -> Mapping[str, int]:
        """Return what the published rows of a partition cover."""
        return dict(self._rows[partition].published_offsets) if partition in self._rows else {}

    def snapshot_offsets(self, partition: int) -> list[Mapping[str, int]]:
        """Return the offsets of the snapshots that are kept, oldest first."""
        return [each.offsets for each in self._rows[partition].snapshots] if partition in self._rows else []

    def damage(self, partition: int) -> None:
        """Flip a bit in the newest snapshot, as a bad disk does."""
        newest = self._rows[partition].snapshots[-1]
        checksum = bytes([newest.checksum[0] ^ 1]) + newest.checksum[1:]
        self._rows[partition].snapshots[-1] = replace(newest, checksum=checksum)

    def down(self) -> None:
        """Begin an outage: every call raises Retryable until `up()`."""
        self._down = True

    def up(self) -> None:
        """End the outage."""
        self._down = False

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self._down:
            raise Retryable("the store does not answer")

    async def _mine(self, lease: Lease) -> _Row:
        await self._answer()
        row = self._rows.get(lease.partition)
        if row is None or row.epoch != lease.epoch:
            raise fenced(lease)
        return row

    def _load(self, row: _Row) -> tuple[Iterable[bytes] | None, Mapping[str, int]]:
        while row.snapshots:
            try:
                return unseal(row.snapshots[-1]), dict(row.snapshots[-1].offsets)
            except Poison as error:
                log.error("%s; falling back to the one before", error.message)
                row.snapshots.pop()
        return None, {}
