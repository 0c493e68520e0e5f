"""A relay that leads and does nothing: it is replaced, and the others say that nobody sends."""

import asyncio
import threading
from collections.abc import Sequence

import asyncpg
import pytest
from prometheus_client import REGISTRY

from libs.common.bus.memory import MemoryProducer
from libs.common.bus.ports import Message, Position
from libs.common.clock import ManualClock
from libs.common.db import outbox as relaying
from libs.common.db.outbox import UNSENT_AFTER_MS, OutboxRelay
from libs.common.db.pool import connect
from libs.common.errors import Refused, Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from tests.integration.db.ground import Ground, event, put, reach, sent

LEADER = (
    "SELECT pid FROM pg_locks JOIN pg_database ON oid = database"
    " WHERE locktype = 'advisory' AND datname = current_database()"
)
SHORT_MS = 3_000
"""Instead of the limit of a session that is idle, so that a test need not wait for so long."""


class StandsStill:
    """A relay in a thread and an event loop of its own, as in a process of its own, which can stand still."""

    def __init__(self, ground: Ground, database_url: str) -> None:
        self._ground, self._url = ground, database_url
        self.leads, self.still, self.goes_on = threading.Event(), threading.Event(), threading.Event()
        self.health = Health(ground.clock)
        self.stop: Stop | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def stand_still(self) -> None:
        """Block the loop until `goes_on`, as SIGSTOP does."""
        assert self.loop is not None

        def block() -> None:
            self.still.set()
            self.goes_on.wait()

        self.loop.call_soon_threadsafe(block)

    def end(self) -> None:
        """Stop it, and say what it died of."""
        assert self.loop is not None
        assert self.stop is not None
        self.goes_on.set()
        self.loop.call_soon_threadsafe(self.stop.set, "the test is over")
        self.thread.join(15)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 - `end` raises it in the test's thread
            self.error = error

    async def _work(self) -> None:
        ground, self.loop, self.stop = self._ground, asyncio.get_running_loop(), Stop()
        async with await connect(self._url, schema="shop", deadline_ms=20_000, clock=ground.clock) as pool:
            relay = OutboxRelay(pool, await ground.producer(), clock=ground.clock, health=self.health)
            running = asyncio.ensure_future(relay.run(self.stop))
            await reach(self.health.ready)
            self.leads.set()
            await running


async def test_a_leader_that_stands_still_is_replaced(
    ground: Ground, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leadership of a relay whose process stands still ends by itself, and another relay sends. When the
    process goes on, its relay notices it and stands by, and leads again once the other has left."""
    monkeypatch.setattr(relaying, "IDLE_LIMIT_MS", SHORT_MS)
    first = StandsStill(ground, database_url)
    first.thread.start()
    try:
        await reach(first.leads.is_set)
        first.stand_still()
        await reach(first.still.is_set)
        async with ground.relay() as second:
            await put(ground.pool, event("a", 1))
            await reach(lambda: sent(ground.bus) == [("a", 1)], second)
            first.goes_on.set()
            await reach(lambda: not first.health.ready(), second)
            await reach(first.health.ready, second)
        await put(ground.pool, event("a", 2))
        await reach(lambda: sent(ground.bus) == [("a", 1), ("a", 2)])
    finally:
        first.end()


class Slow(MemoryProducer):
    """Sends when told to."""

    @classmethod
    async def made(cls, ground: Ground) -> "Slow":
        """Return a started one."""
        producer = cls(ground.bus._cluster, ground.clock)
        producer.asked, producer.may = asyncio.Event(), asyncio.Event()
        await producer.start()
        return producer

    asked: asyncio.Event
    may: asyncio.Event

    async def send_all(self, messages: Sequence[Message]) -> list[Position | Retryable | Refused]:
        """Wait, then send."""
        self.asked.set()
        await self.may.wait()
        return await super().send_all(messages)


async def test_a_leader_that_waits_for_the_bus_goes_on_leading(
    ground: Ground, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a bus takes its time a relay keeps its leadership, however long: what it has given to the bus
    may still arrive, and would then overtake, or repeat, what another one sends."""
    monkeypatch.setattr(relaying, "IDLE_LIMIT_MS", SHORT_MS)
    producer = await Slow.made(ground)
    async with ground.relay(producer) as task:
        await put(ground.pool, event("a", 1))
        await reach(producer.asked.is_set, task)
        leader = await ground.pool.fetchval(LEADER)
        idle = await asyncpg.connect(database_url)
        await idle.execute(f"SET idle_session_timeout = {SHORT_MS}")
        await reach(idle.is_closed, task)
        assert await ground.pool.fetchval(LEADER) == leader
        producer.may.set()
        await reach(lambda: sent(ground.bus) == [("a", 1)], task)
    assert await ground.left() == 0


async def test_standing_by_is_not_healthy_while_nobody_sends(ground: Ground) -> None:
    """A relay that stands by shows how much waits, and says so when the same event has waited for long; it is
    healthy again as soon as the event is gone."""
    clock = ManualClock()
    stop, health = Stop(), Health(clock)
    relay = OutboxRelay(ground.pool, await ground.producer(), clock=clock, health=health)
    async with ground.pool.acquire() as leader:
        await leader.execute("SELECT pg_advisory_lock(hashtextextended('shop/relay', 0))")
        await put(ground.pool, event("a", 1), event("a", 2))
        task = asyncio.create_task(relay.run(stop))
        await reach(lambda: pending() == 2 and health.ready(), task)
        clock.advance(UNSENT_AFTER_MS)
        await reach(lambda: "nobody sends" in health.reasons().get("outbox", ""), task)
        await ground.pool.execute("DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)")
        await reach(lambda: pending() == 1 and health.ready(), task)
        clock.advance(UNSENT_AFTER_MS)
        await reach(lambda: not health.ready(), task)
    await reach(lambda: sent(ground.bus) == [("a", 2)] and health.ready(), task)
    stop.set("the test is over")
    await task


def pending() -> float:
    """Return what the gauge shows."""
    return REGISTRY.get_sample_value("trimtab_outbox_pending") or 0
