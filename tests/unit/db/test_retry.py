"""Retrying waits longer and longer, and gives up at its deadline."""

import pytest

from libs.common.clock import ManualClock
from libs.common.errors import Refused, Retryable
from libs.common.retry import Backoff, retry


async def test_returns_the_first_answer() -> None:
    """What fails with Retryable is called again until it answers."""
    attempts = 0

    async def call() -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Retryable("not yet")
        return 42

    assert await retry(call, clock=ManualClock(), deadline_ms=1_000, what="asking") == 42
    assert attempts == 3


async def test_gives_up_at_the_deadline() -> None:
    """When the time is up the error names what was tried, how often, and the last reason and advice."""
    clock = ManualClock()

    async def call() -> None:
        clock.advance(600)
        raise Retryable("no answer", next_step="start it")

    with pytest.raises(Retryable, match="asking: gave up after 2 attempts in 1000 ms: no answer") as error:
        await retry(call, clock=clock, deadline_ms=1_000, what="asking")
    assert error.value.next_step == "start it"


async def test_other_errors_are_not_retried() -> None:
    """What will not succeed later is raised at once."""
    attempts = 0

    async def call() -> None:
        nonlocal attempts
        attempts += 1
        raise Refused("no")

    with pytest.raises(Refused):
        await retry(call, clock=ManualClock(), deadline_ms=1_000, what="asking")
    assert attempts == 1


def test_pauses_double_up_to_a_limit() -> None:
    """Pauses lie in the upper half of 50, 100, 200, ... ms, never above the limit; a success begins anew."""
    backoff = Backoff(first_ms=50, max_ms=400)
    for limit_ms in (50, 100, 200, 400, 400):
        assert limit_ms / 2 <= backoff.next_ms() <= limit_ms
    backoff.reset()
    assert backoff.next_ms() <= 50
