"""Follows low-volume topics: one handler per topic, one record at a time, in order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from libs.common.bus.control import handling
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.ports import Bus, Consumer, Record, TopicPartition
from libs.common.clock import Clock
from libs.common.errors import Conflict, Fenced, Misconfigured, Poison, Refused, Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from libs.common.telemetry.names import EVENTS_IN, HANDLER_DURATION, collector
from schemas.decode import Malformed, decode
from schemas.event import Contract

log = logging.getLogger(__name__)

Handler = Callable[[Contract], Awaitable[None]]

FETCH_TIMEOUT_MS = 250
MAX_RECORDS = 500
FIRST_PAUSE_MS = 100
MAX_PAUSE_MS = 15_000


class Follower:
    """Reads the topics that `handlers` names, as a member of `group`, or with None alone from the beginning.

    Every record is handled at least once, those of a partition in order. A handler that raises Retryable or
    Conflict is called again after a pause (0.1 s, doubling up to 15 s); Misconfigured and Fenced end the run;
    any other error makes the record poison. Offsets are committed after handling. Tombstones are skipped.
    """

    def __init__(  # noqa: PLR0913 - wired once, by name, in a bootstrap
        self,
        bus: Bus,
        *,
        group: str | None,
        handlers: Mapping[str, Handler],
        dead_letters: DeadLetters,
        clock: Clock,
        health: Health,
    ) -> None:
        self._bus = bus
        self._group = group
        self._handlers = handlers
        self._dead_letters = dead_letters
        self._clock = clock
        self._health = health
        self._name = f"follows {', '.join(sorted(handlers))}"
        self._ends: dict[TopicPartition, int] | None = None
        self.caught_up = asyncio.Event()
        """Set once everything that was in the log at the start (of this member's partitions) is handled."""
        health.require(self._name, "has not read what the log holds yet")

    async def run(self, stop: Stop) -> None:
        """Follow until `stop`; outages are waited out. Raises LineStopped past the limit of dead letters."""
        topics = sorted(self._handlers)
        if self._group is None:
            consumer = self._bus.reader(topics)
        else:
            consumer = self._bus.consumer(group=self._group, topics=topics)
        try:
            await self._patiently(consumer.start, stop)
            while not stop.is_set():
                await self._patiently(partial(self._round, consumer, stop), stop)
        finally:
            await consumer.stop()

    async def _round(self, consumer: Consumer, stop: Stop) -> None:
        found = await consumer.fetch(timeout_ms=FETCH_TIMEOUT_MS, max_records=MAX_RECORDS)
        done: dict[TopicPartition, int] = {}
        try:
            for partition, records in found.items():
                for record in records:
                    if stop.is_set() or not await self._handle(record, stop):
                        return
                    done[partition] = record.offset + 1
        finally:
            if done and self._group is not None:
                await self._commit(consumer, done)
        self._health.beat(self._name)
        await self._note_progress(consumer)

    async def _handle(self, record: Record, stop: Stop) -> bool:
        if record.value is None:
            return True
        self._health.beat(self._name)
        with handling(record), collector(HANDLER_DURATION).labels(record.topic).time():
            done = await self._patiently(partial(self._once, record, record.value), stop)
        collector(EVENTS_IN).labels(record.topic).inc(done)
        return done

    async def _once(self, record: Record, value: bytes) -> None:
        try:
            await self._handlers[record.topic](decode(record.topic, value, self._clock.now_ms()))
        except (Retryable, Conflict, Misconfigured):
            raise
        except (Malformed, Poison, Refused) as error:
            await self._dead_letters.bury(record, str(error))
        except Exception as error:
            # A defect in a handler must not hold up everything behind this record: it is kept, and the limit
            # on dead letters stops the line when it was not the record's fault.
            log.exception("%s-%d@%d: the handler failed", record.topic, record.partition, record.offset)
            await self._dead_letters.bury(record, f"{type(error).__name__}: {error}")
        else:
            self._dead_letters.passed(1)

    async def _commit(self, consumer: Consumer, offsets: Mapping[TopicPartition, int]) -> None:
        try:
            await consumer.commit(offsets)
        except (Fenced, Retryable) as error:
            # What was handled is handled: the next owner, or the next commit, sees to the rest.
            log.info("%s: not committed: %s", self._name, error)

    async def _note_progress(self, consumer: Consumer) -> None:
        if self.caught_up.is_set():
            return
        if self._ends is None:
            self._ends = dict(await consumer.end_offsets(consumer.assignment()))
        positions = consumer.positions()
        if all(positions[each] >= end for each, end in self._ends.items() if each in positions):
            self.caught_up.set()
            self._health.ok(self._name)

    async def _patiently(self, call: Callable[[], Awaitable[None]], stop: Stop) -> bool:
        """Call until it works, with growing pauses. Returns False when `stop` came first."""
        pause_ms = FIRST_PAUSE_MS
        while True:
            try:
                await call()
            except Fenced:
                raise
            except (Retryable, Conflict) as error:
                log.warning("%s: again in %d ms: %s", self._name, pause_ms, error)
                self._health.failing(self._name, error.message)
            else:
                break
            self._health.beat(self._name)
            if await stop.sleep(pause_ms):
                return False
            pause_ms = min(2 * pause_ms, MAX_PAUSE_MS)
        if self.caught_up.is_set():
            self._health.ok(self._name)
        return True
