"""The log: a stream sent whatever happens to the broker, and what stands there in the end."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message, Position, TopicPartition
from libs.common.clock import SystemClock
from schemas.topics import UNIT_PARTITIONS
from services.metrics.bootstrap.ground import TOPICS, UNIT_TOPICS

DEADLINE_S = 60
PAUSE_S = 0.25

Place: TypeAlias = tuple[str, int, int]
"""Of a record: topic, partition, offset."""


@dataclass(slots=True)
class Publisher:
    """Sends messages in small lots until told to hurry; then the rest at once."""

    bus: KafkaBus
    messages: Sequence[Message]
    lot: int
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0
    again: int = 0
    """How many sends had to be repeated, as nobody said that they arrived."""

    async def run(self) -> None:
        """Return when all are acknowledged. What is not acknowledged is sent again: it may be there twice."""
        producer = self.bus.producer()
        await producer.start()
        try:
            while self.sent < len(self.messages):
                lot = len(self.messages) if self.hurry.is_set() else self.lot
                waiting = self.messages[self.sent : self.sent + lot]
                self.sent += len(waiting)
                while waiting:
                    answers = await producer.send_all(waiting)
                    waiting = [
                        message
                        for message, answer in zip(waiting, answers, strict=True)
                        if not isinstance(answer, Position)
                    ]
                    self.again += len(waiting)
                if not self.hurry.is_set():
                    await asyncio.sleep(PAUSE_S)
        finally:
            await producer.stop()


async def send(bus: KafkaBus, messages: Iterable[Message]) -> None:
    """Send all at once, and return when they are acknowledged."""
    publisher = Publisher(bus, list(messages), lot=0)
    publisher.hurry.set()
    await publisher.run()


def bus_of(servers: str) -> KafkaBus:
    """Return the bus of the tests."""
    return KafkaBus(servers, client_id="chaos", clock=SystemClock())


async def make_topics(servers: str, partitions: int = UNIT_PARTITIONS) -> None:
    """Delete every topic, then make those of metrics; the unit-keyed ones with so many partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        old = [name for name in await admin.list_topics() if not name.startswith("__")]
        if old:
            await admin.delete_topics(old)
        async with asyncio.timeout(DEADLINE_S):
            while any(not name.startswith("__") for name in await admin.list_topics()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await admin.create_topics([NewTopic(name, partitions, 1) for name in UNIT_TOPICS])
    finally:
        await admin.close()
    found = await bus_of(servers).admin().ensure_topics(TOPICS)
    assert {found[name] for name in UNIT_TOPICS} == {partitions}


async def ends(bus: KafkaBus) -> dict[TopicPartition, int]:
    """Return the next offset of each partition of the unit-keyed topics, of those that hold any record."""
    reader = bus.reader(UNIT_TOPICS)
    await reader.start()
    try:
        found = await reader.end_offsets(reader.assignment())
    finally:
        await reader.stop()
    return {place: offset for place, offset in found.items() if offset}


async def places_of(bus: KafkaBus, keys: frozenset[str]) -> Counter[Place]:
    """Return where in the unit-keyed topics the records with these keys stand."""
    found: Counter[Place] = Counter()
    for topic, partition, offset, key, _ in await _everything(bus, UNIT_TOPICS):
        if key.decode() in keys:
            found[topic, partition, offset] += 1
    return found


async def buried(bus: KafkaBus) -> Counter[Place]:
    """Return which records the dead letters of ingest are about, and how often."""
    found: Counter[Place] = Counter()
    for *_, value in await _everything(bus, ["dead-letters"]):
        letter = json.loads(value)
        found[letter["topic"], letter["partition"], letter["offset"]] += 1
    return found


async def _everything(bus: KafkaBus, topics: Sequence[str]) -> list[tuple[str, int, int, bytes, bytes]]:
    reader = bus.reader(topics)
    await reader.start()
    found = []
    try:
        end = await reader.end_offsets(reader.assignment())
        async with asyncio.timeout(DEADLINE_S):
            while any(reader.positions()[place] < offset for place, offset in end.items()):
                for records in (await reader.fetch(timeout_ms=500, max_records=5_000)).values():
                    found += [
                        (each.topic, each.partition, each.offset, each.key or b"", each.value or b"")
                        for each in records
                    ]
    finally:
        await reader.stop()
    return found
