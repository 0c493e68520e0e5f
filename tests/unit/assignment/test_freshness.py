"""Rules that are kept fresh, and units that are forgotten, in the background."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from libs.common.clock import ManualClock
from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.names import RULES_AGE, collector
from services.assignment.entrypoints.forgetting import forget_units
from services.assignment.entrypoints.freshness import keep_rules
from services.assignment.handlers.create import create
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.ports import Given
from tests.unit.assignment.make import definition, desk, store_of

DEADLINE_S = 10


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a state."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(task: asyncio.Task[None], stop: Stop) -> AsyncIterator[None]:
    """Let a task run while the block lasts, then stop it."""
    yield
    stop.set("the test is over")
    async with asyncio.timeout(DEADLINE_S):
        await task


async def test_rules_are_kept_fresh_and_survive_an_outage() -> None:
    """A change is seen without anybody asking for it; during an outage the last rules hold and telemetry says
    how old they are; afterwards they are fresh again."""
    place, stop = desk(), Stop()
    assert isinstance(place.clock, ManualClock)
    rules = RulesReader(place.store)
    first = await rules.latest()
    task = asyncio.create_task(keep_rules(rules, stop, clock=place.clock, interval_ms=1))
    async with running(task, stop):
        await create(place, definition(), by="ada", start=True)
        async with asyncio.timeout(DEADLINE_S):
            second = await rules.after(first.etag)
        assert "checkout" in second.rules.experiments
        store_of(place).down = True
        place.clock.advance(7_000)
        assert (await rules.latest()) == second
        await until(lambda: age() == 7.0)
        store_of(place).down = False
        await until(lambda: age() == 0.0)


def age() -> float:
    """Return the age of the rules as telemetry tells it, in seconds."""
    (family,) = collector(RULES_AGE).collect()
    return family.samples[0].value


async def test_latest_asks_the_store_only_for_the_first() -> None:
    """Once there are rules, the latest can be had while the database is away; the first cannot."""
    place = desk()
    rules = RulesReader(place.store)
    store_of(place).down = True
    try:
        await rules.latest()
    except Retryable:
        store_of(place).down = False
    first = await rules.latest()
    store_of(place).down = True
    assert await rules.latest() is first


class Counted:
    """A memory of which ever so many units may be forgotten; every second call fails."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.calls = 0

    async def recall(self, unit_id: str, since: Mapping[str, int]) -> Mapping[str, Given]:
        return {}

    async def remember(self, experiment_id: str, unit_id: str, given: Given, *, since: int) -> Given:
        return given

    async def forget(self, *, limit: int) -> int:
        self.calls += 1
        if self.calls % 2 == 0:
            raise Retryable("away")
        gone = min(limit, self.left)
        self.left -= gone
        return gone


async def test_units_are_forgotten_in_portions() -> None:
    """However many there are, no statement takes more than its portion, and an outage is waited out."""
    sticky, stop = Counted(25_000), Stop()
    task = asyncio.create_task(forget_units(sticky, stop, interval_ms=1))
    async with running(task, stop):
        await until(lambda: sticky.left == 0)
    assert sticky.calls >= 5
