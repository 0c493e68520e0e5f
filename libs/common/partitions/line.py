"""The worker's loop: read, fold, publish, snapshot; exact whoever dies and whenever.

Nothing waits in a queue: the loop fetches only what it folds at once, in slices that leave the event loop
free for heartbeats. Who is fenced drops that state. Mostly the group has given the partition to somebody else
and the next fetch says so; if it does not, the worker joins the group again.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic

from libs.common.bus.batches import Batch
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.ports import Bus, Consumer, TopicPartition
from libs.common.clock import Clock
from libs.common.errors import Fenced, Retryable
from libs.common.ids import new_id
from libs.common.lifecycle import Stop
from libs.common.partitions.burial import Burial
from libs.common.partitions.counts import count_partitions
from libs.common.partitions.lag import Lag
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.ports import PartitionStore, RowsT, StateFactory
from libs.common.partitions.publisher import Publisher
from libs.common.partitions.saver import Saver
from libs.common.partitions.slices import Slices
from libs.common.retry import Backoff
from libs.common.telemetry.health import Health
from libs.common.telemetry.names import EVENTS_IN, LEASES, collector

log = logging.getLogger(__name__)

PART = "line"
"""The name of this part in Health."""
SPARE_AFTER_MS = 10_000
"""A member that got no partition for so long is a spare one, and ready."""
REJOIN_AFTER = 5
"""Fetches that fail in a row before the consumer is built anew."""


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How often, in milliseconds, and how much at a time."""

    publish_interval_ms: int = 500
    snapshot_interval_ms: int = 30_000
    commit_interval_ms: int = 5_000
    fetch_timeout_ms: int = 200
    max_records: int = 24_000
    """Per fetch, over all partitions."""
    max_slice_ms: int = 100
    """Folding is interrupted about this often, for heartbeats: well below a second."""
    orphan_grace_ms: int = 3_000
    """How long a partition may be ours for the group and somebody else's for the store, as it is while it
    moves; after that we join the group again."""


@dataclass(eq=False)
class Line(Generic[RowsT]):
    """Keeps the state of every partition that the group gives to this worker.

    The producer behind `dead_letters` must have been started. `health` counts the part "line" as ready when
    every partition is held and has replayed what was published before.
    """

    bus: Bus
    _: KW_ONLY
    group: str
    topics: Sequence[str]
    factory: StateFactory[RowsT]
    store: PartitionStore[RowsT]
    dead_letters: DeadLetters
    clock: Clock
    health: Health
    settings: LineSettings = field(default_factory=LineSettings)

    def __post_init__(self) -> None:
        owner = f"{socket.gethostname()}/{os.getpid()}/{new_id(self.clock)}"
        self._own: Ownership[RowsT] = Ownership(
            self.store, self.factory, owner, self.clock, self.settings.snapshot_interval_ms
        )
        self._own.count = lambda: count_partitions(self.bus, self.topics)
        self._saver: Saver[RowsT] = Saver(self.store, self._own)
        self._slices = Slices(self.clock, self.settings.max_slice_ms, self.settings.max_records)
        self._publish_due_ms = self._commit_due_ms = self._started_ms = self.clock.monotonic_ms()
        self._burial: Burial[RowsT] = Burial(self.dead_letters, self._own)
        self._publisher: Publisher[RowsT] = Publisher(self.store, self._own, self._burial)
        self._lag = Lag()
        self._orphaned_since_ms: float | None = None
        self.health.require(PART)

    async def run(self, stop: Stop) -> None:
        """Work until `stop`; then publish, snapshot, commit and leave.

        While the bus or the store does not answer, `health` says so and nothing is lost. Raises LineStopped
        for too much poison, Misconfigured when the log no longer holds what a state needs, or the topics have
        another number of partitions than a state was built with.
        """
        backoff = Backoff(first_ms=100)
        while not stop.is_set():
            try:
                await self._be_member(stop, backoff)
            except (Fenced, Retryable) as error:
                self._fail(f"joins again: {error.message}")
                await stop.sleep(backoff.next_ms())

    async def _be_member(self, stop: Stop, backoff: Backoff) -> None:
        consumer = self.bus.consumer(group=self.group, topics=self.topics, listener=self._own)
        self._own.consumer = consumer
        try:
            await consumer.start()
            failures = 0
            while not stop.is_set():
                try:
                    await self._turn(consumer)
                except Retryable as error:
                    failures += 1
                    self._fail(error.message)
                    if failures >= REJOIN_AFTER:
                        raise
                    await stop.sleep(backoff.next_ms())
                else:
                    failures = 0
                    backoff.reset()
            await self._finish(consumer)
        finally:
            await self._saver.cancel()
            await self._publisher.cancel()
            await self._burial.cancel()
            self._own.park_all()
            await consumer.stop()

    async def _turn(self, consumer: Consumer) -> None:
        """Fetch once, fold it, and do what is due. Raises Retryable when the bus does not answer."""
        self.health.beat(PART)
        records = await consumer.fetch(timeout_ms=self._patience_ms(), max_records=self.settings.max_records)
        self._own.forget_parked()
        await self._fold(records)
        await self._burial.keep_up()
        now_ms = self.clock.monotonic_ms()
        if now_ms >= self._publish_due_ms:
            self._publish_due_ms = now_ms + self.settings.publish_interval_ms
            self._publish(now_ms)
        if now_ms >= self._commit_due_ms:
            self._commit_due_ms = now_ms + self.settings.commit_interval_ms
            self._publisher.renew()
            await self._commit(consumer)
        self._check_orphans(now_ms)
        self._report(now_ms)

    async def _fold(self, fetched: Mapping[TopicPartition, Batch]) -> None:
        for (topic, number), rest in fetched.items():
            held = self._own.held.get(number)
            while rest and held is not None and self._own.held.get(number) is held:
                now, rest = rest[: self._slices.size], rest[self._slices.size :]
                with self._slices.timed(len(now)):
                    held.fold(topic, now)
                collector(EVENTS_IN).labels(topic).inc(len(now))
                await asyncio.sleep(0)

    def _publish(self, now_ms: float) -> None:
        """Begin to publish what changed, and to save what is due, which is of the same moment."""
        self._saver.check()
        self._publisher.publish()
        if self._saver.idle:
            self._save_one(now_ms)

    def _save_one(self, now_ms: float) -> None:
        """Begin to save what has been due for the longest time, so that everyone has a turn however long
        saving takes."""
        due = [held for held in self._own.held.values() if now_ms >= held.snapshot_due_ms]
        worth = [held for held in due if held.worth_a_snapshot()]
        if worth:
            held = min(worth, key=lambda each: each.snapshot_due_ms)
            held.snapshot_due_ms = now_ms + self.settings.snapshot_interval_ms
            self._saver.save(held, self._publisher.under_way(held))

    async def _commit(self, consumer: Consumer) -> None:
        """Tell the group how far we are, for those who watch the lag. When partitions have gone to another
        member the next fetch says which; till then their leases keep us from writing."""
        offsets = {
            TopicPartition(topic, number): offset
            for number, held in self._own.held.items()
            for topic, offset in held.offsets.items()
        }
        try:
            await consumer.commit(offsets)
            ends = await consumer.end_offsets(frozenset(offsets))
        except (Fenced, Retryable) as error:
            log.info("offsets not committed: %s", error.message)
            return
        self._lag.show(offsets, ends)
        for number, held in self._own.held.items():
            if all(TopicPartition(topic, number) in ends for topic in held.offsets):
                held.mark({topic: ends[TopicPartition(topic, number)] for topic in held.offsets})

    def _check_orphans(self, now_ms: float) -> None:
        orphans = self._own.orphans()
        if not orphans:
            self._orphaned_since_ms = None
            return
        self._orphaned_since_ms = self._orphaned_since_ms or now_ms
        if now_ms - self._orphaned_since_ms >= self.settings.orphan_grace_ms:
            self._orphaned_since_ms = None
            raise Fenced(f"partitions {sorted(orphans)} are another owner's, and the group gives them to us")

    async def _finish(self, consumer: Consumer) -> None:
        """Leave as little as possible for the next owner to replay."""
        try:
            await self._burial.end()
            await self._burial.bury()
        except Retryable as error:
            log.warning("poison not buried, its partition is left as it is: %s", error.message)
            await self._publisher.cancel()
        await self._publisher.end()
        await self._saver.wait()
        for number, held in list(self._own.held.items()):
            try:
                await held.publish(self.store)
            except (Fenced, Retryable) as error:
                log.warning("left for the next owner to replay: %s", error.message)
                self._own.drop(number)
                continue
            if not held.unwritten and held.worth_a_snapshot():
                self._saver.save(held)
                await self._saver.wait()
        await self._release()
        await self._commit(consumer)

    async def _release(self) -> None:
        for held in self._own.held.values():
            try:
                await self.store.release(held.lease)
            except Retryable as error:
                log.info("lease not released: %s", error.message)
                return

    def _patience_ms(self) -> int:
        """Return how long to wait for records: not beyond the moment when something is to be published."""
        if all(held.offsets == held.covered for held in self._own.held.values()):
            return self.settings.fetch_timeout_ms
        left_ms = self._publish_due_ms - self.clock.monotonic_ms()
        return max(min(int(left_ms), self.settings.fetch_timeout_ms), 1)

    def _report(self, now_ms: float) -> None:
        collector(LEASES).set(len(self._own.held))
        replay = {number: held.to_replay() for number, held in self._own.held.items()}
        behind = ", ".join(f"partition {number}: {count}" for number, count in replay.items() if count)
        trouble = self._publisher.trouble or self._saver.trouble
        if trouble:
            self.health.failing(PART, trouble)
        elif behind:
            self.health.failing(PART, f"replaying; records to go: {behind}")
        elif self._orphaned_since_ms is None and (
            self._own.held or now_ms >= self._started_ms + SPARE_AFTER_MS
        ):
            self.health.ok(PART)

    def _fail(self, reason: str) -> None:
        log.warning("line: %s", reason)
        self.health.beat(PART)
        self.health.failing(PART, reason)
