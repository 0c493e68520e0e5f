"""One partition that is ours: its state, how far it has read, and how far the world knows of it."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import Generic

from libs.common.bus.batches import Batch
from libs.common.bus.dead_letters import Passage
from libs.common.partitions.ports import Lease, PartitionState, PartitionStore, Rejected, RowsT
from libs.common.telemetry.names import PUBLISH_DURATION, collector


@dataclass(slots=True, eq=False)
class Held(Generic[RowsT]):
    """A partition with its lease and its state in memory."""

    lease: Lease
    state: PartitionState[RowsT]
    offsets: dict[str, int]
    """Topic to the next offset to fold."""
    covered: dict[str, int]
    """Topic to the next offset that the published rows cover."""
    saved: dict[str, int]
    """Topic to the next offset after the last snapshot."""
    snapshot_due_ms: float
    partitions: int | None = None
    """How many its topics had when the state was built; None: not known."""
    passages: deque[Passage] = field(default_factory=deque)
    """What the dead letters have still to hear of, in order."""
    _pending: tuple[dict[str, int], RowsT] | None = None
    _marked: dict[str, int] | None = None
    """Where the topics ended at the last mark."""

    def fold(self, topic: str, batch: Batch) -> None:
        """Take in records of one topic; those that the state has already are skipped. Poison waits in
        `passages`, unless an owner before us buried it: that was done before its offset was published."""
        new = batch.since(self.offsets[topic])
        if not new:
            return
        rejected = self.state.fold(topic, new)
        self.offsets[topic] = new.next_offset
        known = self.lease.published_offsets.get(topic, 0)
        good = passed = 0
        for each in sorted(rejected, key=_offset):
            place = _place(new, each.record.offset)
            good += place - passed
            passed = place + 1
            if each.record.offset >= known:
                self.passages.append(Passage(good, each.record, each.reason))
                good = 0
        self.passages.append(Passage(good + len(new) - passed, None))

    def buried(self) -> bool:
        """Return True when no poison waits."""
        return all(passage.record is None for passage in self.passages)

    def to_replay(self) -> int:
        """Return how many offsets are still to be read before anything may be published."""
        return sum(max(covered - self.offsets[topic], 0) for topic, covered in self.covered.items())

    def mark(self, ends: dict[str, int]) -> None:
        """Mark where the topics end now, once all has been read that the last mark says."""
        if self._marked is not None and any(self.offsets[topic] < end for topic, end in self._marked.items()):
            return
        self.state.mark()
        self._marked = ends

    async def publish(self, store: PartitionStore[RowsT]) -> None:
        """Publish what changed, if anything was read or the state says so, and the replay is over. What a
        failed call could not write is written first: the state counts it as published already. Raises what
        the store raises."""
        if self._pending is not None:
            await self._write(store)
        if self.to_replay() or not self.buried():
            return
        if self.offsets != self.covered or self.state.changed():
            self._pending = (dict(self.offsets), self.state.rows())
            await self._write(store)

    def worth_a_snapshot(self) -> bool:
        """Return True when there is something new, and the state is just what is published.

        A dump does not know what is still to be published: what changed after `covered` would be forgotten by
        whoever starts from it, and so would what changed before it in a replay that is not over.
        """
        published = self.offsets == self.covered and self._pending is None
        return published and self.buried() and self.offsets != self.saved

    async def _write(self, store: PartitionStore[RowsT]) -> None:
        assert self._pending is not None
        offsets, rows = self._pending
        with collector(PUBLISH_DURATION).time():
            await store.publish(self.lease, offsets, rows)
        self.covered = offsets
        self._pending = None


def _offset(rejected: Rejected) -> int:
    return rejected.record.offset


def _place(batch: Batch, offset: int) -> int:
    """Return how many records of the batch come before `offset`. A compacted log, or one with transactions,
    has gaps; only then are a few records looked at."""
    if batch.next_offset - batch.first_offset == len(batch):
        return offset - batch.first_offset
    return bisect_left(batch, offset, key=lambda record: record.offset)
