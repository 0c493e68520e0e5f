"""What the bus contract stands on: a bus, what its maker can do to it, and patient readers.

The topics may hold records of other tests: each test writes under keys of its own and looks at those only.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from libs.common.bus.ports import Bus, Consumer, Message, Position, Producer, Record, TopicPartition
from schemas.topics import UNIT_PARTITIONS

EXPOSURES, CONVERSIONS = "exposures", "conversions"
BOTH = (EXPOSURES, CONVERSIONS)
DEADLINE_S = 60

Part = TypeVar("Part", Producer, Consumer)


@dataclass
class Place:
    """A bus, and what only its maker can do to it."""

    bus: Bus
    forget: Callable[[TopicPartition, int], Awaitable[None]]
    """Drops the records before an offset, as retention does."""
    expel: Callable[[Consumer], Awaitable[None]]
    """Takes a member out of its group, as a session time-out does."""


@dataclass
class Notes:
    """A listener that notes what it hears; `wanted` is where it wants to read on."""

    wanted: Mapping[TopicPartition, int] = field(default_factory=dict)
    heard: list[tuple[str, frozenset[TopicPartition]]] = field(default_factory=list)
    fail_once: Exception | None = None

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """Note it."""
        self.heard.append(("revoked", partitions))

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Note it, or fail once."""
        if self.fail_once is not None:
            error, self.fail_once = self.fail_once, None
            raise error
        self.heard.append(("assigned", partitions))
        return {each: offset for each, offset in self.wanted.items() if each in partitions}

    def held(self) -> frozenset[TopicPartition]:
        """Return what is held after all that was heard: nothing is lost or gained twice."""
        held: frozenset[TopicPartition] = frozenset()
        for word, partitions in self.heard:
            if word == "revoked":
                assert partitions <= held
                held -= partitions
            else:
                assert not partitions & held
                held |= partitions
        return held


@asynccontextmanager
async def running(part: Part) -> AsyncIterator[Part]:
    """Start a part of a bus, and stop it in the end."""
    await part.start()
    try:
        yield part
    finally:
        await part.stop()


def fresh() -> str:
    """Return a name that no other test uses."""
    return f"t{secrets.token_hex(6)}"


def messages(run: str, count: int, *, topic: str = EXPOSURES, units: int = 7) -> list[Message]:
    """Return messages of some units, numbered."""
    return [Message(topic, f"{run}-{number % units}", str(number).encode()) for number in range(count)]


def numbers(records: Sequence[Record]) -> list[int]:
    """Return the numbers that the records carry."""
    return [int(record.value or b"-1") for record in records]


def position(answer: object) -> Position:
    """Return an answer that must be a position."""
    assert isinstance(answer, Position)
    return answer


def every(topics: Sequence[str]) -> frozenset[TopicPartition]:
    """Return all partitions of unit-keyed topics."""
    return frozenset(TopicPartition(topic, each) for topic in topics for each in range(UNIT_PARTITIONS))


async def at_end(place: Place, topics: Sequence[str] = BOTH) -> Notes:
    """Return a listener that begins where the logs end now."""
    async with running(place.bus.reader(topics)) as reader:
        return Notes(await reader.end_offsets(every(topics)))


async def read_until(
    consumers: Sequence[Consumer], enough: Callable[[list[Record]], bool], *, run: str, max_records: int = 500
) -> list[Record]:
    """Fetch from all consumers at the same time until the records of this run are enough."""
    found: list[Record] = []

    async def fetch(consumer: Consumer) -> None:
        while not enough(found):
            fetched = await consumer.fetch(timeout_ms=200, max_records=max_records)
            assert sum(map(len, fetched.values())) <= max_records
            for partition, records in fetched.items():
                assert all((each.topic, each.partition) == partition for each in records)
                found.extend(each for each in records if (each.key or b"").decode().startswith(f"{run}-"))

    await _together([fetch(consumer) for consumer in consumers])
    return found


async def settle(consumers: Sequence[Consumer], condition: Callable[[], bool]) -> None:
    """Fetch from all consumers at the same time until the condition holds."""

    async def fetch(consumer: Consumer) -> None:
        while not condition():
            await consumer.fetch(timeout_ms=100, max_records=500)

    await _together([fetch(consumer) for consumer in consumers])


async def _together(calls: Iterable[Coroutine[None, None, None]]) -> None:
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def shared_out(consumers: Sequence[Consumer]) -> bool:
    """Return True when each of these consumers reads something, and together all partitions of BOTH once."""
    shares = [consumer.assignment() for consumer in consumers]
    together = frozenset().union(*shares)
    return all(shares) and together == every(BOTH) and sum(map(len, shares)) == len(together)
