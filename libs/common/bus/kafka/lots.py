"""Many messages in one go, in batches that are made here.

aiokafka's `send` works out the partition, waits for metadata and makes a future for every message, which is
two thirds of what sending one costs. A batch of one's own is handed over as a whole.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from libs.common.bus.partitioner import partition_of
from libs.common.bus.ports import Message

FROM = 100
"""So many messages are a lot. Fewer share aiokafka's batches with what others send meanwhile."""

FAILURES = (KafkaError, OSError)
"""What keeps a message from being queued. A TimeoutError is an OSError."""


class Queued(NamedTuple):
    """A message that waits for its acknowledgement. The offset of its batch is that of the first one; it is
    the `place`-th after that."""

    landing: asyncio.Future[RecordMetadata]
    place: int = 0


class _Batch:
    """Messages of one partition, in order."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._builder = producer.create_batch()
        self.numbers: list[int] = []
        """Which messages of the lot these are."""

    def add(self, number: int, message: Message, key: bytes, timestamp_ms: int) -> bool:
        """Add a message; False when the batch is full."""
        headers = [(name, text.encode()) for name, text in message.headers.items()]
        taken = self._builder.append(timestamp=timestamp_ms, key=key, value=message.value, headers=headers)
        if taken is None:
            return False
        self.numbers.append(number)
        return True

    async def hand_over(
        self, producer: AIOKafkaProducer, topic: str, partition: int
    ) -> asyncio.Future[RecordMetadata]:
        """Queue the batch; the future is of its first message."""
        self._builder.close()  # nobody else's message may come in between
        landing: asyncio.Future[RecordMetadata] = await producer.send_batch(
            self._builder, topic, partition=partition
        )
        return landing


async def queue_lot(
    producer: AIOKafkaProducer, messages: Sequence[Message], timestamp_ms: int, *, ends_s: float | None
) -> list[Queued | KafkaError | OSError]:
    """Queue many messages, none of them too large, until `ends_s` by the loop's time; return what became of
    each, in order. Those of one partition keep their order: after one that cannot be queued none of them is.
    Raises KafkaError or TimeoutError, before any is queued, when a topic's partitions cannot be learnt."""
    async with asyncio.timeout_at(ends_s):
        topics = {message.topic for message in messages}
        counts = {topic: len(await producer.partitions_for(topic)) for topic in topics}
    batches: defaultdict[tuple[str, int], list[_Batch]] = defaultdict(list)
    for number, message in enumerate(messages):
        key = message.key.encode()
        mine = batches[message.topic, partition_of(key, counts[message.topic])]
        if not mine or not mine[-1].add(number, message, key, timestamp_ms):
            mine.append(_Batch(producer))
            mine[-1].add(number, message, key, timestamp_ms)  # the first one is taken, whatever its size
    found: dict[int, Queued | KafkaError | OSError] = {}
    await asyncio.gather(
        *(_hand_over(producer, place, mine, found, ends_s) for place, mine in batches.items())
    )
    return [found[number] for number in range(len(messages))]


async def _hand_over(
    producer: AIOKafkaProducer,
    place: tuple[str, int],
    batches: Sequence[_Batch],
    found: dict[int, Queued | KafkaError | OSError],
    ends_s: float | None,
) -> None:
    problem: KafkaError | OSError | None = None
    for batch in batches:
        try:
            if problem is None:
                async with asyncio.timeout_at(ends_s):
                    landing = await batch.hand_over(producer, *place)
        except FAILURES as error:
            problem = error
        for nth, number in enumerate(batch.numbers):
            found[number] = problem or Queued(landing, nth)
