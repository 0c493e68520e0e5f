"""The sketch behind quantiles: bins, merging, taking out again."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.quantile_sketch import (
    BINS_A_SIDE,
    LARGEST_MICRO,
    RELATIVE_ACCURACY,
    Ranks,
    Sketch,
    bin_of,
    bins_of,
    count_value,
    merged,
    range_of,
)
from libs.statistics.sums import MICRO

MICROS = st.one_of(
    st.integers(-(10**27), 10**27), st.integers(-200, 200), st.integers(-LARGEST_MICRO, LARGEST_MICRO)
)
LISTS = st.lists(MICROS, max_size=15)


def sketch_of(micros: list[int]) -> Sketch:
    """Return the sketch of these values."""
    sketch: Sketch = {}
    for micro in micros:
        count_value(sketch, micro)
    return sketch


@given(MICROS)
def test_a_value_lies_in_the_range_of_its_bin(micro: int) -> None:
    """Both ends included; and the middle is within 1 % of it, unless the value is beyond all bins."""
    found = range_of(bin_of(micro))
    assert found.low is None or found.low <= micro
    assert found.high is None or micro <= found.high
    if found.middle is None:
        assert abs(micro) > LARGEST_MICRO
    else:
        assert abs(found.middle * MICRO - micro) <= RELATIVE_ACCURACY * abs(micro) * (1 + 1e-9)


@given(MICROS, MICROS)
def test_bins_are_in_the_order_of_values(one: int, two: int) -> None:
    """A larger value is never in a lower bin, and the bin of -x is minus that of x."""
    assert (bin_of(one) <= bin_of(two)) or one > two
    assert bin_of(-one) == -bin_of(one)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_many_at_a_time_fall_into_the_same_bins(micros: list[int]) -> None:
    """Whatever fits into 64 bits: the array's bins are those of its numbers one by one."""
    assert bins_of(np.array(micros, np.int64)).tolist() == [bin_of(each) for each in micros]


def test_many_at_a_time_agree_at_every_end_of_a_bin() -> None:
    """Both sides of each end that fits into 64 bits, and the least and the greatest number there is."""
    ends = [range_of(key).high for key in range(1, BINS_A_SIDE)]
    sizes = [end + step for end in ends if end is not None for step in (-1, 0, 1) if end + step < 2**63]
    micros = [*sizes, *(-size for size in sizes), -(2**63), 2**63 - 1, 0]
    assert len(micros) > 10_000
    assert bins_of(np.array(micros, np.int64)).tolist() == [bin_of(each) for each in micros]


@given(st.lists(MICROS))
def test_numbers_beyond_64_bits_fall_into_the_same_bins(micros: list[int]) -> None:
    """An array of Python's integers holds what int64 cannot."""
    assert bins_of(np.array(micros, object)).tolist() == [bin_of(each) for each in micros]


@pytest.mark.parametrize("micro", [0, 1, -1, 2, 49, -49])
def test_small_values_are_exact(micro: int) -> None:
    """Below 50 millionths a bin holds a single value."""
    assert range_of(bin_of(micro)) == (micro, micro)


def test_ranges_leave_no_gap() -> None:
    """From one bin to the next the ranges join, over the whole axis."""
    ranges = [range_of(key) for key in range(-BINS_A_SIDE, BINS_A_SIDE + 1)]
    for below, above in pairwise(ranges):
        assert below.high is not None
        assert above.low == below.high + 1
    assert ranges[0].low is None
    assert ranges[-1].high is None


@given(LISTS, LISTS, LISTS)
def test_merging_is_associative_and_commutative(one: list[int], two: list[int], three: list[int]) -> None:
    """In any grouping and order it is the sketch of all values together."""
    first, second, third = sketch_of(one), sketch_of(two), sketch_of(three)
    assert merged(first, second) == merged(second, first) == sketch_of(one + two)
    assert merged(merged(first, second), third) == merged(first, merged(second, third))


@given(LISTS, LISTS, st.randoms(use_true_random=False))
def test_what_is_taken_out_was_never_there(stay: list[int], leave: list[int], chance: random.Random) -> None:
    """Units that leave a variant leave no trace, in whatever order they come and go."""
    sketch = sketch_of(chance.sample(stay + leave, len(stay + leave)))
    for micro in chance.sample(leave, len(leave)):
        count_value(sketch, micro, -1)
    assert sketch == sketch_of(stay)


def test_more_than_was_counted_can_not_be_taken_out() -> None:
    """It raises and changes nothing."""
    sketch = sketch_of([5, 5])
    with pytest.raises(ValueError, match="can't be taken out"):
        count_value(sketch, 5, -3)
    assert sketch == sketch_of([5, 5])


@given(st.lists(st.integers(-49, 49), min_size=1, max_size=30))
def test_ranks_are_those_of_the_sorted_values(micros: list[int]) -> None:
    """Where bins are single values, the k-th rank is the k-th smallest value."""
    ranks = Ranks(sketch_of(micros))
    assert [ranks.at(rank).low for rank in range(1, ranks.total + 1)] == sorted(micros)
    for micro in (-60, -1, 0, 30):
        assert ranks.up_to(bin_of(micro)) == sum(each <= micro for each in micros)


def test_ranks_and_bins_outside_are_refused() -> None:
    """A rank beyond the values and a bin beyond the axis are mistakes of the caller."""
    with pytest.raises(ValueError, match="rank 2 of 1"):
        Ranks(sketch_of([5])).at(2)
    with pytest.raises(ValueError, match="on either side"):
        range_of(BINS_A_SIDE + 1)
