"""Which partitions are ours: taken over with a lease when the group gives them, parked when it takes them.

A rebalance takes everything away and often gives it back at once. A parked state is used again when the new
epoch is the next one: then nobody had the partition in between.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from libs.common.bus.ports import Consumer, TopicPartition
from libs.common.clock import Clock
from libs.common.errors import Fenced, Misconfigured
from libs.common.partitions.counts import PARTITIONS, check_count
from libs.common.partitions.dumps import Dump
from libs.common.partitions.held import Held
from libs.common.partitions.ports import Lease, PartitionStore, RowsT, StateFactory
from libs.common.telemetry.names import LEASES_LOST, collector

log = logging.getLogger(__name__)

AT_ONCE = 2
"""So many snapshots are fetched and unpacked side by side: one waits for the store while another is read."""
_BEGIN_ANEW = (
    "to begin anew with what the log holds, give this service the command "
    "`reset --yes --partition {number}`: results then count from there"
)


async def _unknown() -> int | None:
    return None


@dataclass(slots=True)
class Ownership(Generic[RowsT]):
    """Hears what the group gives and takes (keeps the promises of `bus.ports.Listener`)."""

    store: PartitionStore[RowsT]
    factory: StateFactory[RowsT]
    owner: str
    clock: Clock
    snapshot_interval_ms: float
    count: Callable[[], Awaitable[int | None]] = _unknown
    """Returns how many partitions the topics have, None when that is not known now."""
    held: dict[int, Held[RowsT]] = field(default_factory=dict)
    parked: dict[int, Held[RowsT]] = field(default_factory=dict)
    consumer: Consumer | None = None
    """The one whose assignment this is; to be set before it starts."""

    settled: bool = False
    """The group has spoken since we joined it: what is parked then will not come back."""

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """Park these. Writes nothing: the next owner replays what was not published."""
        self.settled = True
        for number in {each.partition for each in partitions}:
            self.park(number)

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take these over and return where to read on. Raises Retryable when the store or the bus does not
        answer, Misconfigured when the log no longer holds what the state needs, or a state was built with
        another number of partitions; to be called again then."""
        numbers = sorted({each.partition for each in partitions})
        for number in numbers:
            self.park(number)
        count = await self.count()
        gate = asyncio.Semaphore(AT_ONCE)

        async def take(number: int) -> None:
            async with gate:
                topics = frozenset(each for each in partitions if each.partition == number)
                self.held[number] = await self._take(number, topics, count)

        await _all([take(number) for number in numbers])
        self.settled = True
        return {
            TopicPartition(topic, number): offset
            for number in numbers
            for topic, offset in self.held[number].offsets.items()
        }

    def park(self, number: int) -> None:
        """Put a partition aside: nothing is folded into it or written for it until it is taken over again."""
        if number in self.held:
            self.parked[number] = self.held.pop(number)

    def forget_parked(self) -> None:
        """Drop what did not come back: to be called after a fetch, which takes and gives in one go."""
        if self.settled:
            self.parked.clear()

    def orphans(self) -> frozenset[int]:
        """Return the partitions that the group gives us, and that are not held: somebody else took them."""
        assert self.consumer is not None
        return frozenset(each.partition for each in self.consumer.assignment()) - self.held.keys()

    def park_all(self) -> None:
        """Put all partitions aside, before one joins the group again."""
        self.settled = False
        for number in list(self.held):
            self.park(number)

    def holds(self, held: Held[RowsT], lease: Lease) -> bool:
        """Return True while `held` is ours under this very lease."""
        return self.held.get(lease.partition) is held and held.lease is lease

    def lose(self, held: Held[RowsT], lease: Lease, error: Fenced) -> None:
        """Drop a partition because a write under `lease` was fenced; not one that we have taken over again
        since."""
        if self.holds(held, lease):
            log.warning("dropped: %s", error.message)
            collector(LEASES_LOST).inc()
            self.drop(lease.partition)

    def drop(self, number: int) -> None:
        """Forget the state of a partition that somebody else owns."""
        self.held.pop(number, None)
        self.parked.pop(number, None)

    async def _take(self, number: int, topics: frozenset[TopicPartition], count: int | None) -> Held[RowsT]:
        assert self.consumer is not None
        lease = await self.store.acquire(number, self.owner)
        parked = self.parked.pop(number, None)
        # A topic that was made larger after the others is given later, and not in what was parked.
        if parked is not None and not {each.topic for each in topics} <= parked.offsets.keys():
            parked = None
        if parked is not None and parked.lease.epoch + 1 == lease.epoch:
            check_count(number, parked.partitions, count)
            parked.lease, parked.partitions = lease, parked.partitions or count
            return parked
        built = lease.snapshot_offsets.get(PARTITIONS)
        check_count(number, built, count)
        first = await self.consumer.beginning_offsets(topics)
        end = await self.consumer.end_offsets(topics)
        offsets = {each.topic: _start(lease, each.topic, first[each], end[each]) for each in sorted(topics)}
        held = await self._build(lease, offsets)
        held.partitions = built or count
        if offsets.keys() - lease.snapshot_offsets.keys():
            # From now on a restart knows where this state began, whatever retention drops.
            snapshot = await Dump(lease, offsets, held.state.dump(), held.partitions).seal(lambda: True)
            assert snapshot is not None
            await self.store.save_snapshot(lease, snapshot)
        log.info("partition %d: epoch %d, from %s", number, lease.epoch, offsets)
        return held

    async def _build(self, lease: Lease, offsets: dict[str, int]) -> Held[RowsT]:
        # Seconds for a large snapshot: in a thread, so that the group goes on hearing of us.
        state = await asyncio.to_thread(self.factory, lease.partition, lease.snapshot)
        return Held(
            lease=lease,
            state=state,
            offsets=offsets,
            covered={topic: lease.published_offsets.get(topic, offset) for topic, offset in offsets.items()},
            saved=dict(offsets),
            snapshot_due_ms=self.clock.monotonic_ms() + self.snapshot_interval_ms,
        )


async def _all(tasks: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Return when all have, or raise the first error when none of them goes on any more."""
    running = [asyncio.create_task(each) for each in tasks]
    try:
        await asyncio.gather(*running)
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _start(lease: Lease, topic: str, first: int, end: int) -> int:
    """Return where to read on in `topic`, whose log holds the offsets from `first` to before `end`."""
    place = f"partition {lease.partition}: the log of {topic}"
    anew = _BEGIN_ANEW.format(number=lease.partition)
    published = lease.published_offsets.get(topic, 0)
    needed = lease.snapshot_offsets.get(topic, 0 if published else first)
    if needed < first:
        why = "the last snapshot ends there" if topic in lease.snapshot_offsets else "there is no snapshot"
        raise Misconfigured(
            f"{place} begins at offset {first}, but {needed} is needed: {why} and retention has overtaken it",
            next_step=f"raise retention.ms of the topic and restore a newer snapshot; or, {anew}",
        )
    known = max(needed, published)
    if known > end:
        raise Misconfigured(
            f"{place} ends at offset {end}, but {known} was read before: the topic was made anew or cut",
            next_step=f"restore the topic; or, {anew}",
        )
    return needed
