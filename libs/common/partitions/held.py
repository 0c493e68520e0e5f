"""One partition that is ours: its state, how far it has read, and how far the world knows of it."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
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
    _entered: int = 0
    """How many passages there ever were."""
    _pending: tuple[dict[str, int], RowsT] | None = None
    _beyond: int = 0
    """The rows that are pending lie beyond so many passages."""
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
                self._enter(Passage(good, each.record, each.reason))
                good = 0
        self._enter(Passage(good + len(new) - passed, None))

    def buried(self) -> bool:
        """Return True when no poison waits that the rows which were taken lie beyond: they may be written."""
        gone = self._entered - len(self.passages)
        return all(each.record is None for each in islice(self.passages, max(self._beyond - gone, 0)))

    def to_replay(self) -> int:
        """Return how many offsets are still to be read before anything may be published."""
        return sum(max(covered - self.offsets[topic], 0) for topic, covered in self.covered.items())

    def mark(self, ends: dict[str, int]) -> None:
        """Mark where the topics end now, once all has been read that the last mark says."""
        if self._marked is not None and any(self.offsets[topic] < end for topic, end in self._marked.items()):
            return
        self.state.mark()
        self._marked = ends

    @property
    def unwritten(self) -> bool:
        """True while rows that were taken are not known to be written."""
        return self._pending is not None

    def prepare(self) -> bool:
        """Take the rows of what changed, if anything was read or the state says so, and the replay is over.
        Rows that were taken before and not written stay as they are and go first: the state counts them as
        published. Returns True when there is something to `write`, once all is `buried`."""
        ready = self._pending is None and not self.to_replay()
        if ready and (self.offsets != self.covered or self.state.changed()):
            self._pending = (dict(self.offsets), self.state.rows())
            self._beyond = self._entered
        return self._pending is not None

    async def write(self, store: PartitionStore[RowsT]) -> None:
        """Write the rows that were taken, beyond which all must be buried; folding may go on meanwhile.
        Raises what the store raises: they are kept then."""
        assert self._pending is not None
        assert self.buried()
        offsets, rows = self._pending
        with collector(PUBLISH_DURATION).time():
            await store.publish(self.lease, offsets, rows)
        self.covered = offsets
        self._pending = None

    async def publish(self, store: PartitionStore[RowsT]) -> None:
        """Write what was taken before, and then all that changed since, as far as poison is buried. Raises
        what the store raises."""
        if self._pending is not None and self.buried():
            await self.write(store)
        if self.prepare() and self.buried():
            await self.write(store)

    def worth_a_snapshot(self) -> bool:
        """Return True when there is something new, and the rows that were taken last are of the state as it
        is. Once they are written, a dump of this moment may be saved, and not before.

        A dump does not know what is still to be published: what changed after its rows were taken would be
        forgotten by whoever starts from it, and so would what changed before it in a replay that is not over.
        """
        taken = self.covered if self._pending is None else self._pending[0]
        return self.offsets == taken and self.offsets != self.saved and not self.state.changed()

    def _enter(self, passage: Passage) -> None:
        self.passages.append(passage)
        self._entered += 1


def _offset(rejected: Rejected) -> int:
    return rejected.record.offset


def _place(batch: Batch, offset: int) -> int:
    """Return how many records of the batch come before `offset`. A compacted log, or one with transactions,
    has gaps; only then are a few records looked at."""
    if batch.next_offset - batch.first_offset == len(batch):
        return offset - batch.first_offset
    return bisect_left(batch, offset, key=lambda record: record.offset)
