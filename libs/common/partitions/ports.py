"""What keeps the state of a partition exact, whoever owns it and whenever they die.

A *line* (`line.py`) reads the unit-keyed topics of one worker. Per partition number it holds one state in
memory; a lease with an epoch says who owns it. What is published is absolute, never an increment, and is
written together with the offsets that it covers, in one transaction that says `WHERE epoch = mine`.
A restart is: lease, last snapshot, seek, replay.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.partitions.snapshots import Snapshot

RowsT = TypeVar("RowsT")
RowsOut = TypeVar("RowsOut", covariant=True)
RowsIn = TypeVar("RowsIn", contravariant=True)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one partition, until somebody takes it with a higher epoch."""

    partition: int
    epoch: int
    snapshot: Iterable[bytes] | None
    """The dump to start from, chunk by chunk as it was made, unpacked as one goes; None: start empty."""
    snapshot_offsets: Mapping[str, int]
    """Topic to the next offset after the snapshot; empty: from the beginning of the log. What `counts.py`
    keeps stands beside them."""
    published_offsets: Mapping[str, int]
    """Topic to the next offset that the published rows cover. Nothing is published before the replay
    has reached it in every topic: results never move backwards."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not be folded in, and why."""

    record: Record
    reason: str


class PartitionState(Protocol[RowsOut]):
    """The state of one partition, in memory. Same records, same state: nothing else goes in."""

    def fold(self, topic: str, batch: Batch) -> Sequence[Rejected]:
        """Take in records of one topic, in offset order. Returns those that are poison; raises nothing."""

    def changed(self) -> bool:
        """Return True when `rows()` would hold something new, whether a record brought it or something else
        that the state depends on. Asked often, so cheap when nothing has."""

    def rows(self) -> RowsOut:
        """Return what is to be published: absolute values of all that changed since the last call."""

    def mark(self) -> None:
        """Know that everything which the log held, in any topic, at the last mark has been folded, and that
        this is the next one. Called every few seconds, but not while a long log is caught up with. A state
        may forget by it what would else wait for a topic in which nothing comes; no row may change."""

    def dump(self) -> Iterator[bytes]:
        """Return everything, for a snapshot, in chunks; never pickle.

        Together they are the state at the moment of this call, though `fold` and `rows` are called between
        two chunks. Making one chunk takes well below 200 ms. Whoever needs no more of them calls `close()`,
        where the iterator has it. One dump of a state is taken at a time."""


class StateFactory(Protocol[RowsOut]):
    """Makes the state of a partition."""

    def __call__(self, partition: int, dump: Iterable[bytes] | None) -> PartitionState[RowsOut]:
        """Return an empty state, or the one that the chunks of `dump` hold; called in a thread, several at a
        time. Raises Misconfigured for a dump that this version cannot read."""


class PartitionStore(Protocol[RowsIn]):
    """Where leases, snapshots and published rows are kept."""

    async def acquire(self, partition: int, owner: str) -> Lease:
        """Take the partition over: epoch + 1. Whoever held it before is fenced from now on."""

    async def publish(self, lease: Lease, offsets: Mapping[str, int], rows: RowsIn) -> None:
        """Write rows and offsets in one transaction. Raises Fenced when the epoch is not the lease's."""

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """Keep this sealed snapshot of the lease's partition, and of the older good ones one. Raises Fenced
        likewise."""

    async def renew(self, lease: Lease) -> None:
        """Say that the owner is at work, so that nobody resets the partition under it. Raises Fenced
        likewise."""

    async def release(self, lease: Lease) -> None:
        """Say that the owner has left in order. A lease that is not the latest is let be."""
