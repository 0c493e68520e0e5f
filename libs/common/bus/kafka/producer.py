"""Sends to Kafka: idempotent, acknowledged by all in-sync replicas, made anew when its sequence breaks."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import repeat

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from libs.common.bus.kafka import lots
from libs.common.bus.kafka.failures import answered, breaks_sequence, translated
from libs.common.bus.kafka.limits import (
    BATCH_BYTES,
    LINGER_MS,
    REQUEST_TIMEOUT_MS,
    SEND_TIMEOUT_MS,
    START_TIMEOUT_MS,
    STOP_TIMEOUT_MS,
)
from libs.common.bus.kafka.lots import Queued
from libs.common.bus.partitioner import choose_partition
from libs.common.bus.ports import Message, Position
from libs.common.bus.rules import check_topics, too_large
from libs.common.bus.sent import counted
from libs.common.clock import Clock
from libs.common.errors import Misconfigured, Refused, Retryable

log = logging.getLogger(__name__)

Answer = Position | Retryable | Refused


class KafkaProducer:
    """Keeps the promises of `ports.Producer`. May be shared by the tasks of one event loop."""

    def __init__(self, bootstrap_servers: str, *, client_id: str, clock: Clock) -> None:
        self._servers = bootstrap_servers
        self._client_id = client_id
        self._clock = clock
        self._producer: AIOKafkaProducer | None = None
        self._broken = False
        self._renewal: asyncio.Future[None] | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Connect. Raises Retryable when no broker answers; it may be called again then."""
        async with self._lock:
            if self._producer is None:
                self._producer = await self._connect()

    async def stop(self) -> None:
        """Send what is waiting, for at most 10 s, then disconnect."""
        async with self._lock:
            if self._renewal is not None:
                self._renewal.cancel()
                await asyncio.wait({self._renewal})
            producer, self._producer = self._producer, None
            if producer is not None:
                await _close(producer)

    async def send(self, message: Message) -> Position:
        """Send one message and wait until it is acknowledged, at most 30 s in all."""
        (answer,) = await self.send_all([message])
        if isinstance(answer, Retryable | Refused):
            raise answer
        return answer

    async def send_all(self, messages: Sequence[Message]) -> list[Answer]:
        """Send many in one go, and wait at most 30 s in all: for a producer that is made anew, for room in
        the queue, for acknowledgements. After one that cannot even be queued no other of its partition is
        queued, so that keys keep their order."""
        if messages:
            check_topics({message.topic for message in messages})
        limit = asyncio.timeout(SEND_TIMEOUT_MS / 1_000)
        try:
            async with answered("making the producer anew"), limit:
                producer = await self._whole()
        except Retryable as error:
            return counted(messages, [error] * len(messages))
        queue = self._queue_lot if len(messages) >= lots.FROM else self._queue
        queued = await queue(producer, messages, limit.when())
        waiting = {each.landing for each in queued if isinstance(each, Queued)}
        if waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(limit.when()):
                    await asyncio.wait(waiting)
        return counted(
            messages, [self._answer(message, each) for message, each in zip(messages, queued, strict=True)]
        )

    async def _queue(
        self, producer: AIOKafkaProducer, messages: Sequence[Message], ends_s: float | None
    ) -> list[Queued | Refused | Retryable]:
        queued: list[Queued | Refused | Retryable] = []
        timestamp_ms = self._clock.now_ms()
        try:
            async with asyncio.timeout_at(ends_s):
                for message in messages:
                    queued.append(too_large(message) or await _append(producer, message, timestamp_ms))
        except lots.FAILURES as error:
            problem = self._problem(error, messages[len(queued)].topic)
            queued.extend([problem] * (len(messages) - len(queued)))
        return queued

    async def _queue_lot(
        self, producer: AIOKafkaProducer, messages: Sequence[Message], ends_s: float | None
    ) -> list[Queued | Refused | Retryable]:
        refused = [too_large(message) for message in messages]
        fitting = [message for message, why in zip(messages, refused, strict=True) if why is None]
        found: Iterator[Queued | KafkaError | OSError]
        try:
            found = iter(await lots.queue_lot(producer, fitting, self._clock.now_ms(), ends_s=ends_s))
        except lots.FAILURES as error:
            found = repeat(error)
        queued: list[Queued | Refused | Retryable] = []
        for message, why in zip(messages, refused, strict=True):
            each = why or next(found)
            queued.append(self._problem(each, message.topic) if isinstance(each, lots.FAILURES) else each)
        return queued

    def _answer(self, message: Message, queued: Queued | Refused | Retryable) -> Answer:
        if not isinstance(queued, Queued):
            return queued
        landing, place = queued
        if not landing.done():
            # It may still arrive: nobody listens any more, and nobody should be warned about that.
            landing.add_done_callback(lambda future: future.cancelled() or future.exception())
            return self._problem(TimeoutError(), message.topic)
        error = landing.exception()
        if isinstance(error, Exception):
            return self._problem(error, message.topic)
        landed = landing.result()
        return Position(landed.topic, landed.partition, landed.offset + place)

    def _problem(self, error: Exception, topic: str) -> Refused | Retryable:
        if breaks_sequence(error) and not self._broken:
            log.warning("the producer is made anew: %s", error)
            self._broken = True
        problem = translated(error, f"sending to {topic}")
        if isinstance(problem, Misconfigured):
            raise problem from error
        return problem

    async def _whole(self) -> AIOKafkaProducer:
        """Return a producer whose sequence is whole."""
        if self._broken and self._producer is not None:
            if self._renewal is None or self._renewal.done():
                # A task of its own: it may take longer than who waits for it has time, and serves the next.
                self._renewal = asyncio.ensure_future(self._renew(self._producer))
                self._renewal.add_done_callback(lambda done: done.cancelled() or done.exception())
            renewal = self._renewal
            await asyncio.wait({renewal})
            if not renewal.cancelled():  # as it is when the producer is stopped meanwhile
                renewal.result()
        if self._producer is None:
            raise RuntimeError("the producer is not running: start it first, do not use it after stop")
        return self._producer

    async def _renew(self, broken: AIOKafkaProducer) -> None:
        await _close(broken)
        self._producer = await self._connect()
        self._broken = False

    async def _connect(self) -> AIOKafkaProducer:
        # No compression: lz4 and zstd need another package, and aiokafka's gzip runs at level 9 in the loop.
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            client_id=self._client_id,
            enable_idempotence=True,
            acks="all",
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            partitioner=choose_partition,
        )
        try:
            async with answered(f"connecting to {self._servers}"), asyncio.timeout(START_TIMEOUT_MS / 1_000):
                await producer.start()
        except BaseException:
            await _close(producer)
            raise
        return producer


async def _append(producer: AIOKafkaProducer, message: Message, timestamp_ms: int) -> Queued:
    landing: asyncio.Future[RecordMetadata] = await producer.send(
        message.topic,
        value=message.value,
        key=message.key.encode(),
        timestamp_ms=timestamp_ms,
        headers=[(name, text.encode()) for name, text in message.headers.items()],
    )
    return Queued(landing)


async def _close(producer: AIOKafkaProducer) -> None:
    """Flush and disconnect. With idempotence aiokafka tries for ever: what is not sent in time fails."""
    stopping = asyncio.ensure_future(producer.stop())
    try:
        done, _ = await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_MS / 1_000)
        if not done:
            producer._message_accumulator.fail_all(KafkaError("the producer was closed before it was sent"))
            await asyncio.wait({stopping}, timeout=REQUEST_TIMEOUT_MS / 1_000)
    finally:
        stopping.cancel()
        await asyncio.wait({stopping})
        if stopping.cancelled() or stopping.exception() is not None:
            log.warning("a producer was closed before it was done")
            await producer.client.close()
