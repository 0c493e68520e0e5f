"""How often a caller may ask: a bucket of tokens each, refilled at a steady rate."""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from libs.common.clock import Clock

MAX_CALLERS = 10_000
"""Buckets that are kept; the one used longest ago goes first, and its caller begins with a full one again."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_ms: float


class RateLimit:
    """Lets every caller ask `rate_per_s` times a second on average and `burst` times (at least 1) at once.

    A rate of 0 lets everybody through.
    """

    def __init__(
        self, *, rate_per_s: float, burst: float, clock: Clock, max_callers: int = MAX_CALLERS
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = max(burst, 1.0)
        self._clock = clock
        self._max_callers = max_callers
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_s(self, caller: str) -> int:
        """Take a token of the caller and return 0; without one, the whole seconds until there is one."""
        if self._rate_per_s <= 0:
            return 0
        now_ms = self._clock.monotonic_ms()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(self._burst, now_ms)
            if len(self._buckets) > self._max_callers:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(caller)
        refilled = bucket.tokens + (now_ms - bucket.at_ms) / 1_000 * self._rate_per_s
        bucket.tokens, bucket.at_ms = min(refilled, self._burst), now_ms
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0
        # Whole seconds, and never 0, which clients read as a date or as no pause at all.
        return max(1, ceil((1.0 - bucket.tokens) / self._rate_per_s))
