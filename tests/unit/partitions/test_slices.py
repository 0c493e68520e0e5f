"""Slices stay short however slow folding becomes."""

from libs.common.clock import ManualClock
from libs.common.partitions.slices import Slices


def fold(slices: Slices, clock: ManualClock, *, cost_ms: int, records: int) -> list[int]:
    """Fold `records` in slices, at `cost_ms` each; returns the milliseconds of each slice."""
    took = []
    while records:
        now = min(records, slices.size)
        with slices.timed(now):
            clock.advance(now * cost_ms)
        took.append(now * cost_ms)
        records -= now
    return took


def test_slow_records() -> None:
    """Records of 10 ms each: after a few slices none takes longer than 200 ms."""
    clock = ManualClock()
    slices = Slices(clock, max_slice_ms=200, max_records=5_000)
    fold(slices, clock, cost_ms=10, records=2_000)
    assert max(fold(slices, clock, cost_ms=10, records=500)) <= 200


def test_fast_records() -> None:
    """Records that cost nothing are folded up to the limit at a time."""
    slices = Slices(ManualClock(), max_slice_ms=200, max_records=5_000)
    fold(slices, ManualClock(), cost_ms=0, records=50_000)
    assert slices.size == 5_000


def test_a_few_fast_records_prove_nothing() -> None:
    """A slice that was not full does not make the next one larger."""
    clock = ManualClock()
    slices = Slices(clock, max_slice_ms=200, max_records=5_000)
    fold(slices, clock, cost_ms=0, records=3)
    assert slices.size == 500


def test_at_least_one() -> None:
    """A single record above the limit still goes through."""
    clock = ManualClock()
    slices = Slices(clock, max_slice_ms=200, max_records=5_000)
    fold(slices, clock, cost_ms=1_000, records=2_000)
    assert slices.size == 1
