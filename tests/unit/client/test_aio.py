"""The client for asyncio: the same verbs, and the event loop is never held up."""

import asyncio
import time
from typing import Any

import httpx

from tests.unit.client.services import Reply, Services, accept
from trimtab import AsyncTrimtab


def client_of(services: Services, **options: Any) -> AsyncTrimtab:
    """Return a client of these services."""
    return AsyncTrimtab("http://gateway", "http://assignment", transport=services, **options)


async def longest_pause_s(task: "asyncio.Task[Any]") -> float:
    """Return the longest time that the event loop was held up until the task was done."""
    longest, last = 0.0, time.monotonic()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    return longest


async def test_every_verb_works(services: Services) -> None:
    """Assigning, exposing and telling work as in the client without asyncio, and all is sent at the end."""
    async with client_of(services) as client:
        assignment = await client.assign("user-7", "digits", {"country": "DE"})
        assert assignment.in_experiment
        later = await client.assign("user-8", "digits", expose=False)
        assert client.expose("user-8", later) is not None
        told = client.predict("user-7", model="digits", model_version="1", features={"x": 1.0}, output="3")
        client.convert("user-7", "purchase", 19.9)
        assert await client.flush()
        client.feedback("user-7", told, model="digits", label="3")
    kinds = [event["type"] for event in services.events()]
    assert sorted(kinds) == ["conversion", "exposure", "exposure", "feedback", "prediction"]
    assert client.stats().accepted == 5


async def test_assigning_locally_does_not_suspend(services: Services) -> None:
    """By the rules at hand `assign` answers before anything else of the loop runs."""
    async with client_of(services) as client:
        ran: list[int] = []
        asyncio.get_running_loop().call_soon(ran.append, 1)
        for number in range(10):
            await client.assign(f"user-{number}", "digits")
        assert ran == []


async def test_event_loop_is_never_held_up(services: Services) -> None:
    """Slow services hold up neither start, nor flush, nor close, as the event loop sees it."""

    def slow(events: list[dict[str, Any]]) -> Reply:
        time.sleep(0.6)
        return accept(events)

    services.always = slow

    async def life() -> None:
        async with client_of(services, flush_interval_ms=10) as client:
            for number in range(100):
                await client.assign(f"user-{number}", "digits")
                client.convert(f"user-{number}", "purchase")
            assert await client.flush()
            client.convert("user-7", "purchase")

    began = time.monotonic()
    pause_s = await longest_pause_s(asyncio.create_task(life()))
    assert time.monotonic() - began > 1.0
    assert pause_s < 0.5
    assert len(services.events()) == 201


async def test_outage_holds_nothing_up(services: Services) -> None:
    """With both services away, start and close end by their deadlines and the loop runs on."""
    services.rules = None
    services.always = lambda _: httpx.ConnectError("nobody listens")

    async def life() -> None:
        client = await client_of(services, refresh_interval_ms=20).start(deadline_ms=200)
        assert (await client.assign("user-7", "digits")).reason == "no_rules"
        client.convert("user-7", "purchase")
        assert not await client.aclose(deadline_ms=200)

    assert await longest_pause_s(asyncio.create_task(life())) < 0.5
