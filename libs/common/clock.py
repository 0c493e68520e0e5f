"""The only place that reads the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time. Everything that depends on it takes a clock."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""

    def monotonic_ms(self) -> float:
        """Return milliseconds that never go backwards, for durations."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        """Return milliseconds of a clock that never goes backwards."""
        return time.monotonic_ns() / 1e6


class ManualClock:
    """A clock that stands still until it is moved: for tests and replays."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return the time it was set to."""
        return self._now_ms

    def monotonic_ms(self) -> float:
        """Return the same time as `now_ms`."""
        return float(self._now_ms)

    def advance(self, by_ms: int) -> None:
        """Move forward by `by_ms`, which must not be negative."""
        if by_ms < 0:
            raise ValueError("a clock does not go backwards")
        self._now_ms += by_ms
