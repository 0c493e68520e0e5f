"""Exposures to the bus: acknowledged, in batches, and refused early during an outage."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

import pytest

from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message, Position
from libs.common.clock import ManualClock
from libs.common.errors import Refused, Retryable
from schemas.facts import Exposure
from services.assignment.adapters import exposures as adapter
from services.assignment.adapters.exposures import BusExposures
from tests.unit.assignment.make import NOW_MS


class Slow:
    """A producer whose acknowledgements wait until they are let go; it counts its calls."""

    def __init__(self, bus: MemoryBus) -> None:
        self._producer = bus.producer()
        self.let_go = asyncio.Event()
        self.calls = 0

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def send(self, message: Message) -> Position:
        return await self._producer.send(message)

    async def send_all(self, messages: Sequence[Message]) -> list[Position | Retryable | Refused]:
        self.calls += 1
        await self.let_go.wait()
        return await self._producer.send_all(messages)


def exposure(unit_id: str) -> Exposure:
    """Return an exposure of a unit."""
    return Exposure(
        event_id=f"e-{unit_id}", occurred_at_ms=NOW_MS, unit_id=unit_id, experiment_id="x", variant="a"
    )


@pytest.fixture
def bus() -> MemoryBus:
    """Return an empty bus."""
    return MemoryBus(ManualClock(NOW_MS))


@pytest.fixture
async def slow(bus: MemoryBus) -> Slow:
    """Return a slow producer, started."""
    made = Slow(bus)
    await made.start()
    return made


def units(bus: MemoryBus) -> set[str]:
    """Return the units that were exposed."""
    return {json.loads(each.value or b"")["unit_id"] for each in bus.records("exposures")}


async def test_what_comes_together_goes_together(bus: MemoryBus, slow: Slow) -> None:
    """Exposures of one turn of the event loop are one call, and each returns once it is acknowledged."""
    exposures = BusExposures(slow, deadline_ms=10_000)
    tasks = [asyncio.create_task(exposures.publish(exposure(f"u{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    slow.let_go.set()
    await asyncio.gather(*tasks)
    assert slow.calls == 1
    assert units(bus) == {f"u{n}" for n in range(50)}


async def test_deadline_then_refused_at_once_until_it_lands(bus: MemoryBus, slow: Slow) -> None:
    """Past the deadline an exposure is Retryable; until it has landed others are refused without waiting;
    when it has, all goes on."""
    exposures = BusExposures(slow, deadline_ms=20)
    with pytest.raises(Retryable, match="no acknowledgement within 20 ms"):
        await exposures.publish(exposure("late"))
    for _ in range(3):
        with pytest.raises(Retryable, match="before this one"):
            await exposures.publish(exposure("refused"))
    assert slow.calls == 1
    slow.let_go.set()
    async with asyncio.timeout(10):
        while "after" not in units(bus):
            with suppress(Retryable):
                await exposures.publish(exposure("after"))
            await asyncio.sleep(0)
    assert units(bus) == {"late", "after"}


async def test_an_outage_is_tried_again(bus: MemoryBus, slow: Slow) -> None:
    """While the bus is down each that is tried fails; the first that is tried after it lands."""
    slow.let_go.set()
    exposures = BusExposures(slow, deadline_ms=10_000)
    bus.down()
    for _ in range(3):
        with pytest.raises(Retryable):
            await exposures.publish(exposure("lost"))
    bus.up()
    await exposures.publish(exposure("found"))
    assert units(bus) == {"found"}


async def test_memory_is_bounded(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """More exposures than may wait for the bus are refused at once."""
    monkeypatch.setattr(adapter, "MAX_UNDER_WAY", 2)
    exposures = BusExposures(slow, deadline_ms=10_000)
    waiting = [asyncio.create_task(exposures.publish(exposure(f"u{n}"))) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Retryable, match="wait for the bus"):
        await exposures.publish(exposure("more"))
    slow.let_go.set()
    await asyncio.gather(*waiting)
    await exposures.publish(exposure("more"))


async def test_who_hangs_up_disturbs_nobody(bus: MemoryBus, slow: Slow) -> None:
    """A caller that is cancelled while it waits takes nothing from the others of its batch."""
    exposures = BusExposures(slow, deadline_ms=10_000)
    gone, stays = (asyncio.create_task(exposures.publish(exposure(each))) for each in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    slow.let_go.set()
    await stays
    assert gone.cancelled()
    assert units(bus) == {"gone", "stays"}


async def test_a_defect_of_the_producer_is_no_silence(bus: MemoryBus) -> None:
    """What the producer raises reaches the caller: a producer that was never started is a defect."""
    exposures = BusExposures(bus.producer(), deadline_ms=10_000)
    with pytest.raises(RuntimeError, match="not running"):
        await exposures.publish(exposure("u"))
