"""A Faust worker inside our own event loop: agents that hand over raw records, a timer of the leader alone.

Faust shares out the control topics and elects the leader; nothing else of it is used. What makes it safe:

- An agent acknowledges a record when its handler has returned, never before: a crash repeats it, so handlers
  are idempotent. Retryable is retried in place; any other error ends the worker, its record not acknowledged.
- Faust has no say in signals, logging or the loop. It starts and stops with our Stop.
- A watchdog (`watchdog.py`) asks the broker where the log ends. When there is more to read, nothing is
  being handled and nothing moves for `stall_ms`, it raises: the process exits with 1 and the supervisor
  starts a new one.
"""

import asyncio
import logging
import random
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import faust
from faust.types import EventT, StreamT

from libs.common.bus.ports import Record, TopicPartition
from libs.common.clock import Clock
from libs.common.entrypoints.watchdog import Progress, Watchdog
from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from libs.common.telemetry.names import EVENTS_IN, HANDLER_DURATION, collector

log = logging.getLogger(__name__)

RecordHandler = Callable[[Record], Awaitable[None]]
Tick = Callable[[], Awaitable[None]]

BUFFERED_RECORDS = 256
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 100, 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FaustSettings:
    """How a control worker runs. `app_id` names its group: the same for all its processes."""

    app_id: str
    bootstrap_servers: str
    session_timeout_ms: int = 8_000
    """How long a killed leader or owner is missed. The broker takes 6 000 or more."""
    heartbeat_ms: int = 2_000
    stall_ms: int = 30_000
    stop_deadline_ms: int = 5_000


class FaustWorker:
    """One worker. `listen` and `every` first, then `run` once. The topics must exist."""

    def __init__(self, settings: FaustSettings, *, clock: Clock, health: Health) -> None:
        self._settings = settings
        self._clock = clock
        self._health = health
        self._datadir = tempfile.TemporaryDirectory(prefix="trimtab-faust-")
        self._app = _make_app(settings, self._datadir.name)
        self._app.on_partitions_assigned.connect(self._on_assigned)
        self._topics: set[str] = set()
        self._progress = Progress(clock)
        self._watchdog = Watchdog(self._progress, stall_ms=settings.stall_ms, clock=clock, health=health)
        self._failed: asyncio.Future[None] | None = None
        self._stop: Stop | None = None
        health.require("faust", "joining the group")

    def listen(self, topic: str, handle: RecordHandler) -> None:
        """Hand every record of `topic` to `handle`, one at a time per partition, in order.

        `handle` buries what is poison. Retryable is tried again after a pause, for as long as it takes.
        """
        self._topics.add(topic)
        raw: Any = {"key_serializer": "raw", "value_serializer": "raw", "allow_empty": True}
        channel = self._app.topic(topic, key_type=bytes, value_type=bytes, **raw)

        async def agent(stream: StreamT[bytes]) -> None:
            unacknowledged: Any = stream  # Faust's protocol lacks `noack`
            async for event in unacknowledged.noack().events():
                await self._take(event, handle)
                event.ack()

        self._app.agent(channel, name=f"{self._settings.app_id}-{topic}")(agent)

    def every(self, interval_ms: int, tick: Tick) -> None:
        """Call `tick` every `interval_ms` on the leader. Two leaders can overlap: `tick` is idempotent.

        Retryable is logged and tried at the next interval; any other error ends the worker.
        """

        async def guarded() -> None:
            if self._stop is None or self._stop.is_set():
                return
            with self._progress.working():
                try:
                    await tick()
                    self._health.ok("timer")
                except Retryable as error:
                    self._health.failing("timer", error.message)
                    log.warning("timer: %s; again in %d ms", error, interval_ms)
                except Exception as error:  # noqa: BLE001 - run() raises it
                    self._fail(error)

        self._app.timer(interval_ms / 1_000, on_leader=True, name="leader")(guarded)

    async def run(self, stop: Stop) -> None:
        """Work until `stop` is set. Raises the first error of a handler, a timer, Faust or the watchdog."""
        self._stop = stop
        self._failed = asyncio.get_running_loop().create_future()
        self._progress.moved()
        started = asyncio.ensure_future(self._app.start())
        tasks = [
            asyncio.ensure_future(each)
            for each in (
                self._live(started),
                self._watchdog.run(self._behind, stop),
                stop.wait(),
                self._failure(),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._leave(stop, started)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._datadir.cleanup()
        for task in done:
            task.result()

    async def _live(self, started: asyncio.Future[None]) -> None:
        try:
            await asyncio.shield(started)
        except Exception as error:
            raise Retryable(f"faust could not start: {error}") from error
        await self._app.wait_until_stopped()
        if self._app.crash_reason is not None:
            raise Retryable(f"faust crashed: {self._app.crash_reason!r}") from self._app.crash_reason

    async def _failure(self) -> None:
        assert self._failed is not None
        await self._failed

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _leave(self, stop: Stop, started: asyncio.Future[None]) -> None:
        """Let handlers end what they are at (no new ones begin once Stop is set), then leave the group."""
        stop.set("the worker ends")
        deadline_ms = self._clock.monotonic_ms() + self._settings.stop_deadline_ms
        # A poll, because an event could not say that several counts are down to none at the same time.
        while self._progress.at_work and self._clock.monotonic_ms() < deadline_ms:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # Faust cannot be stopped before it has started; one that failed to start must not be stopped. And a
        # Faust that does not stop in time is left where it is: it swallows cancellation.
        await asyncio.wait({started}, timeout=self._settings.stop_deadline_ms / 1_000)
        if not started.done() or started.cancelled() or started.exception() is not None:
            return
        stopped = asyncio.ensure_future(self._app.stop())
        await asyncio.wait({stopped}, timeout=self._settings.stop_deadline_ms / 1_000)
        if not stopped.done():
            log.warning("faust did not stop within %d ms", self._settings.stop_deadline_ms)

    async def _take(self, event: EventT[bytes], handle: RecordHandler) -> None:
        """Return when the record is handled; never, when it is not: so it stays unacknowledged."""
        record = _to_record(event)
        assert self._stop is not None
        if self._stop.is_set():
            await asyncio.Event().wait()
        with self._progress.working(), collector(HANDLER_DURATION).labels(record.topic).time():
            try:
                done = await self._handle(record, handle, self._stop)
            except Exception as error:
                log.exception("%s-%d@%d: not handled", record.topic, record.partition, record.offset)
                self._fail(error)
                done = False
        if not done:
            await asyncio.Event().wait()
        collector(EVENTS_IN).labels(record.topic).inc()
        self._progress.handled(TopicPartition(record.topic, record.partition), record.offset)

    async def _handle(self, record: Record, handle: RecordHandler, stop: Stop) -> bool:
        """Return True once handled, False when the worker stops before a retry."""
        pause_ms = FIRST_PAUSE_MS
        while True:
            try:
                await handle(record)
            except Retryable as error:
                self._health.failing(record.topic, error.message)
                log.warning("%s@%d: %s; again in %d ms", record.topic, record.offset, error, pause_ms)
            else:
                self._health.ok(record.topic)
                return True
            if await stop.sleep(pause_ms * random.uniform(0.5, 1.0)):
                return False
            pause_ms = min(2 * pause_ms, LONGEST_PAUSE_MS)

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        self._health.ok("faust")
        self._progress.reassigned()

    async def _behind(self) -> str:
        """Return what there is to read and has not been, "" when nothing is."""
        consumer = self._app.consumer
        mine = [place for place in consumer.assignment() if place.topic in self._topics]
        if not mine:
            return "not yet in the group" if "faust" in self._health.reasons() else ""
        ends = await consumer.highwaters(*mine)
        for place in mine:
            if not self._progress.knows(TopicPartition(*place)):
                self._progress.begins_at(TopicPartition(*place), await consumer.position(place) or 0)
        return self._progress.lag({TopicPartition(*place): ends[place] for place in mine})


def _make_app(settings: FaustSettings, datadir: str) -> faust.App:
    seconds = settings.session_timeout_ms / 1_000
    return faust.App(
        settings.app_id,
        broker=[f"kafka://{each.strip()}" for each in settings.bootstrap_servers.split(",")],
        broker_client_id=settings.app_id,
        broker_session_timeout=seconds,
        broker_rebalance_timeout=seconds,
        broker_heartbeat_interval=settings.heartbeat_ms / 1_000,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        autodiscover=False,
        datadir=datadir,
        reply_create_topic=False,
        store="memory://",
        stream_buffer_maxsize=BUFFERED_RECORDS,
        stream_wait_empty=False,  # an unhandled record would hold the stop up for ever
        topic_replication_factor=1,
        web_enabled=False,
    )


def _to_record(event: EventT[bytes]) -> Record:
    message = event.message
    headers: Any = message.headers or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=int((message.timestamp or 0) * 1_000),
        key=message.key,
        value=message.value,
        headers=tuple((str(name), bytes(value)) for name, value in pairs),
    )
