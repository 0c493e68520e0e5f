"""Laws of the histogram without chosen bins."""

import math
from bisect import bisect_right
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.statistics.value_counts import EXACT_BITS, ValueCounts, ceiling

value = st.floats(-1e12, 1e12, allow_nan=False)


def _many(seed: int) -> list[float]:
    """More values than bins, over many sizes."""
    generator = np.random.default_rng(seed)
    scales = 10.0 ** generator.integers(-14, 12, 500)
    return [float(each) for each in generator.normal(size=500) * scales]


values = st.lists(value, max_size=600) | st.integers(0, 10_000).map(_many)
SETTINGS = settings(max_examples=60, deadline=None)


@SETTINGS
@given(values)
def test_order_does_not_matter(numbers: list[float]) -> None:
    """Any order, one by one or in batches, gives the same bins and counts."""
    shuffled = sorted(numbers)
    one, other = ValueCounts.of(numbers, limit=180), ValueCounts(limit=180)
    for number in shuffled:
        other.add(number)
    assert (one.bits, one.bins(), one.total) == (other.bits, other.bins(), other.total)


@SETTINGS
@given(values, values)
def test_merging_is_counting_together(left: list[float], right: list[float]) -> None:
    """Two histograms merged are the histogram of both lists, whichever is merged into which."""
    whole = ValueCounts.of(left + right, limit=180)
    for first, second in ((left, right), (right, left)):
        merged = ValueCounts.of(first, limit=180)
        merged.merge(ValueCounts.of(second, limit=180))
        assert (merged.bits, merged.counts) == (whole.bits, whole.counts)


@SETTINGS
@given(values)
def test_bins_hold_their_values(numbers: list[float]) -> None:
    """Every value lies in the bin that counts it, bins are disjoint, and never more than allowed."""
    counts = ValueCounts.of(numbers, limit=180)
    bins = counts.bins()
    assert len(bins) <= 180
    assert sum(each.held for each in bins) == len(numbers) == counts.total
    assert all(one.high <= other.low or one.high < other.high for one, other in pairwise(bins))
    for each in bins:
        if counts.bits == EXACT_BITS:
            inside = sum(number == each.high for number in numbers)
        else:
            inside = sum(each.low < number <= each.high for number in numbers)
        assert inside == each.held


@SETTINGS
@given(value, st.integers(1, 53), st.integers(1, 53))
def test_grids_are_nested(number: float, fine: int, coarse: int) -> None:
    """Rounding to a fine grid first changes nothing about the coarse one."""
    fine, coarse = max(fine, coarse), min(fine, coarse)
    assert ceiling(ceiling(number, fine), coarse) == ceiling(number, coarse)
    assert ceiling(number, coarse) >= number


@SETTINGS
@given(values)
def test_restored_is_the_same(numbers: list[float]) -> None:
    """What a histogram gives out is enough to make it again."""
    counts = ValueCounts.of(numbers, limit=180)
    again = ValueCounts.restore(counts.bits, counts.counts, limit=180)
    assert (again.bins(), again.total) == (counts.bins(), counts.total)


@SETTINGS
@given(values.filter(bool))
def test_bounds_enclose(numbers: list[float]) -> None:
    """No value lies at or under the lower bound, none above the upper one."""
    low, high = ValueCounts.of(numbers, limit=180).bounds()
    assert low < min(numbers)
    assert high >= max(numbers)


def test_few_values_stay_exact() -> None:
    """Up to the limit every value is a bin of its own."""
    counts = ValueCounts.of([2024.0, 2025.0, 2025.0])
    assert counts.counts == {2024.0: 1, 2025.0: 2}
    assert counts.bits == EXACT_BITS


def test_many_values_keep_their_ranks() -> None:
    """On a coarse histogram the share below any number is off by no more than the bin it falls into."""
    numbers = sorted(math.tan(each / 1_000) for each in range(1, 1_500))
    counts = ValueCounts.of(numbers)
    rank = 0
    for each in counts.bins():
        rank += each.held
        assert rank == bisect_right(numbers, each.high)
    assert max(each.held for each in counts.bins()) < 40


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_only_finite_numbers(number: float) -> None:
    """What is not finite is refused, alone or among others, and counts nothing."""
    counts = ValueCounts()
    with pytest.raises(ValueError, match="finite"):
        counts.add(number)
    with pytest.raises(ValueError, match="finite"):
        counts.add_all([1.0, number])
    assert counts.total == 0


def test_too_small_a_limit_is_refused() -> None:
    """Fewer bins than one bit a bin needs cannot be promised."""
    with pytest.raises(ValueError, match="180"):
        ValueCounts(limit=10)
    with pytest.raises(ValueError, match="nothing"):
        ValueCounts().bounds()
