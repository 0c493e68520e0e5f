"""Asking a service over a real network that is silent: no caller waits longer than it was told to."""

import asyncio
import time

import pytest

from tests.integration.client.server import Server
from trimtab import AsyncTrimtab, Trimtab


def test_silent_service_costs_one_timeout(server: Server) -> None:
    """The first call gives up at the time-out; a thousand more in the same silence cost little."""
    server.silent.set()
    with Trimtab(server.url, server.url, remote=True, assign_timeout_ms=150) as client:
        began = time.monotonic()
        assert client.assign("user-7", "digits").reason == "unreachable"
        first_s = time.monotonic() - began
        assert 0.1 < first_s < 2
        for _ in range(1_000):
            assert client.assign("user-7", "digits").reason == "unreachable"
        assert time.monotonic() - began < first_s + 2
        assert client.stats().assign_errors == 1_001


async def test_silent_service_does_not_hold_up_the_loop(server: Server) -> None:
    """With asyncio all that wait give up together, and the loop runs on meanwhile."""
    server.silent.set()
    async with AsyncTrimtab(server.url, server.url, remote=True, assign_timeout_ms=300) as client:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        answers = await asyncio.gather(*(client.assign(f"user-{number}", "digits") for number in range(20)))
        ticking.cancel()
        assert {answer.reason for answer in answers} == {"unreachable"}
        assert ticks > 5


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "not an address"])
async def test_nobody_there(server: Server, url: str) -> None:
    """Where nobody listens both clients answer at once that nobody could be reached."""
    with Trimtab(server.url, url, remote=True) as client:
        assert client.assign("user-7", "digits").reason == "unreachable"
    async with AsyncTrimtab(server.url, url, remote=True) as other:
        assert (await other.assign("user-7", "digits")).reason == "unreachable"
