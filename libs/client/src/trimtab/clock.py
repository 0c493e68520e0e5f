"""The only place of this distribution that reads the time."""

import time


def now_ms() -> int:
    """Return milliseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> float:
    """Return milliseconds of a clock that never goes backwards, for durations."""
    return time.monotonic_ns() / 1e6
