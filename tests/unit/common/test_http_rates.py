"""How often a caller may ask."""

from libs.common.clock import ManualClock
from libs.common.http.rates import RateLimit


def test_burst_then_rate() -> None:
    """A caller may ask as often as the burst at once, then at the rate; it is told whole seconds to wait."""
    clock = ManualClock()
    limit = RateLimit(rate_per_s=2.0, burst=3, clock=clock)
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 0, 1]
    clock.advance(499)
    assert limit.wait_s("a") == 1
    clock.advance(1)
    assert [limit.wait_s("a"), limit.wait_s("a")] == [0, 1]
    clock.advance(60_000)
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 0, 1]


def test_callers_do_not_share() -> None:
    """What one caller asks takes nothing from another."""
    limit = RateLimit(rate_per_s=1.0, burst=1, clock=ManualClock())
    assert [limit.wait_s("a"), limit.wait_s("a"), limit.wait_s("b")] == [0, 1, 0]


def test_a_slow_rate_tells_long_waits() -> None:
    """With a token every ten seconds the wait is up to ten."""
    clock = ManualClock()
    limit = RateLimit(rate_per_s=0.1, burst=1, clock=clock)
    assert [limit.wait_s("a"), limit.wait_s("a")] == [0, 10]
    clock.advance(4_500)
    assert limit.wait_s("a") == 6


def test_no_rate_is_no_limit() -> None:
    """A rate of 0 lets everybody through."""
    limit = RateLimit(rate_per_s=0.0, burst=1, clock=ManualClock())
    assert {limit.wait_s("a") for _ in range(1_000)} == {0}


def test_memory_is_bounded() -> None:
    """Past the limit of callers the one seen longest ago is dropped, and begins anew."""
    limit = RateLimit(rate_per_s=1.0, burst=1, clock=ManualClock(), max_callers=2)
    assert [limit.wait_s(each) for each in ("a", "b", "a", "c")] == [0, 0, 1, 0]
    assert [limit.wait_s("a"), limit.wait_s("b")] == [1, 0]
