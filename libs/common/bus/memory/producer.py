"""A producer of the bus in memory."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from libs.common.bus.memory.cluster import Client, Cluster
from libs.common.bus.partitioner import partition_of
from libs.common.bus.ports import Message, Position, Record, TopicPartition
from libs.common.bus.rules import check_topics, too_large
from libs.common.bus.sent import counted
from libs.common.clock import Clock
from libs.common.errors import Refused, Retryable


class MemoryProducer(Client):
    """Keeps the promises of `ports.Producer`."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        super().__init__()
        self._cluster = cluster
        self._clock = clock
        self._running = False

    async def start(self) -> None:
        """Connect. Raises Retryable while the bus is down."""
        self._cluster.check(self)
        self._cluster.clients.add(self)
        self._running = True

    async def stop(self) -> None:
        """Disconnect."""
        self._running = False
        self._cluster.clients.discard(self)

    async def send(self, message: Message) -> Position:
        """Append one message and return where it landed."""
        (answer,) = await self.send_all([message])
        if isinstance(answer, Retryable | Refused):
            raise answer
        return answer

    async def send_all(self, messages: Sequence[Message]) -> list[Position | Retryable | Refused]:
        """Append many; the answer of each stands at its place."""
        if not self._running:
            raise RuntimeError("the producer is not running: start it first, do not use it after stop")
        if messages:
            check_topics(message.topic for message in messages)
        await asyncio.sleep(0)
        answers = [self._answer(message) for message in messages]
        self._cluster.wake()
        return counted(messages, answers)

    def _answer(self, message: Message) -> Position | Retryable | Refused:
        try:
            self._cluster.check(self)
        except Retryable as error:
            return error
        return too_large(message) or self._append(message)

    def _append(self, message: Message) -> Position:
        key = message.key.encode()
        partition = partition_of(key, self._cluster.partitions[message.topic])
        headers = tuple((name, text.encode()) for name, text in message.headers.items())
        record = Record(message.topic, partition, 0, self._clock.now_ms(), key, message.value, headers)
        offset = self._cluster.logs[TopicPartition(message.topic, partition)].append(record)
        self._cluster.passed("sent", Counter({message.topic: 1}), self)
        return Position(message.topic, partition, offset)
