"""Waiting longer and longer for something that does not answer."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from libs.common.clock import Clock
from libs.common.errors import Retryable

T = TypeVar("T")


class Backoff:
    """The pauses between attempts: each twice the last up to a limit, the upper half of it by chance, so that
    many processes that failed together do not come back together."""

    def __init__(self, *, first_ms: float = 50, max_ms: float = 5_000) -> None:
        self._first_ms = first_ms
        self._max_ms = max_ms
        self._pause_ms = first_ms

    def next_ms(self) -> float:
        """Return how long to wait now, in milliseconds; the next answer is about twice as long."""
        pause_ms = self._pause_ms
        self._pause_ms = min(2 * pause_ms, self._max_ms)
        return pause_ms * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin with the shortest pause again: to be called after a success."""
        self._pause_ms = self._first_ms


async def retry(call: Callable[[], Awaitable[T]], *, clock: Clock, deadline_ms: float, what: str) -> T:
    """Return what `call` returns, calling it again after each Retryable for at most `deadline_ms`
    milliseconds.

    Raises Retryable that names `what`, the attempts and the last reason when the time is up; other errors at
    once. An attempt that is under way at the deadline is not interrupted.
    """
    backoff = Backoff()
    end_ms = clock.monotonic_ms() + deadline_ms
    attempts = 0
    while True:
        attempts += 1
        try:
            return await call()
        except Retryable as error:
            left_ms = end_ms - clock.monotonic_ms()
            if left_ms <= 0:
                raise Retryable(
                    f"{what}: gave up after {attempts} attempts in {deadline_ms:.0f} ms: {error.message}",
                    next_step=error.next_step,
                ) from error
        await asyncio.sleep(min(backoff.next_ms(), left_ms) / 1_000)
