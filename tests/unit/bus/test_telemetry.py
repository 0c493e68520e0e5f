"""What the bus counts for Prometheus."""

import asyncio

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.follow import Follower
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message
from libs.common.clock import ManualClock
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from libs.common.telemetry.names import (
    DEAD_LETTERS,
    EVENTS_IN,
    EVENTS_NOT_OUT,
    EVENTS_OUT,
    HANDLER_DURATION,
    Series,
    collector,
)
from schemas.event import Contract
from schemas.facts import Conversion

TOPIC = "conversions"
GOOD = Conversion(event_id="e", occurred_at_ms=1, unit_id="u", name="purchase").to_json()


def count(series: Series, topic: str) -> float:  # type: ignore[type-arg]
    """Return a counter's value."""
    return collector(series).labels(topic)._value.get()


async def test_what_is_sent_is_counted_by_topic_and_answer() -> None:
    """Acknowledged records, and those that the bus did not take: an outage, or too large."""
    bus = MemoryBus(ManualClock())
    producer = bus.producer()
    await producer.start()
    before = count(EVENTS_OUT, TOPIC), count(EVENTS_NOT_OUT, TOPIC)
    await producer.send_all([Message(TOPIC, "u", GOOD), Message(TOPIC, "u", b"x" * 10_000_000)])
    await producer.send_all([])
    bus.down()
    await producer.send_all([Message(TOPIC, "u", GOOD), Message(TOPIC, "v", GOOD)])
    assert (count(EVENTS_OUT, TOPIC) - before[0], count(EVENTS_NOT_OUT, TOPIC) - before[1]) == (1, 3)


async def test_what_is_followed_is_counted_and_timed() -> None:
    """Every record that was handled counts, poison also as a dead letter of its topic; each is timed."""
    clock, stop = ManualClock(), Stop()
    bus = MemoryBus(clock)
    producer = bus.producer()
    await producer.start()
    await producer.send_all([Message(TOPIC, "u", GOOD), Message(TOPIC, "u", b"{")])

    async def handle(_: Contract) -> None: ...

    follower = Follower(
        bus,
        group=None,
        handlers={TOPIC: handle},
        dead_letters=DeadLetters(producer, source="test", clock=clock),
        clock=clock,
        health=Health(clock),
    )

    def counts() -> list[float]:
        timed = sum(each.get() for each in collector(HANDLER_DURATION).labels(TOPIC)._buckets)
        return [count(EVENTS_IN, TOPIC), count(DEAD_LETTERS, TOPIC), timed]

    before = counts()
    task = asyncio.create_task(follower.run(stop))
    async with asyncio.timeout(20):
        await follower.caught_up.wait()
    stop.set("caught up")
    await task
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [2, 1, 2]
