"""Exact sums."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.sums import Sums, exact_sums, to_micro

VALUES = st.floats(-1e12, 1e12, allow_nan=False)
SUMS = st.lists(VALUES, max_size=8).map(exact_sums)


@given(VALUES)
def test_a_value_becomes_the_nearest_millionth(value: float) -> None:
    """The rounding is that of the exact value, ties to even."""
    assert to_micro(value) == round(Fraction(value) * 1_000_000)


def test_what_is_no_number_is_refused() -> None:
    """NaN and infinity raise instead of becoming a number."""
    for value in (float("nan"), float("inf")):
        with pytest.raises((ValueError, OverflowError)):
            to_micro(value)


@given(SUMS, SUMS, SUMS)
def test_merging_is_associative_and_commutative(one: Sums, two: Sums, three: Sums) -> None:
    """In any grouping and order the digits are the same, and nothing added changes nothing."""
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert one + Sums() == one


@given(st.lists(VALUES, min_size=2, max_size=20))
def test_mean_and_variance_are_those_of_the_fractions(values: list[float]) -> None:
    """One division at the end: the float nearest to the exact value of the rounded inputs."""
    exact = [Fraction(to_micro(each), 1_000_000) for each in values]
    mean = sum(exact) / len(exact)
    variance = sum((each - mean) ** 2 for each in exact) / (len(exact) - 1)
    sums = exact_sums(values)
    assert sums.mean == float(mean)
    assert sums.variance == float(variance)


def test_variance_survives_a_large_mean() -> None:
    """Where floating point cancels to nothing, the integers do not."""
    assert exact_sums([1e12, 1e12 + 1, 1e12 + 2]).variance == 1.0


def test_too_few_units_have_no_mean_or_variance() -> None:
    """None, not NaN."""
    assert Sums().mean is None
    assert exact_sums([1.0]).variance is None
