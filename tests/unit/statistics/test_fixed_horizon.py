"""Classical tests: what they refuse and what they never return. Their numbers are in the oracles' tests."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.differences import Arms, NotEnough
from libs.statistics.fixed_horizon import (
    TWO_PROPORTIONS,
    Fixed,
    mean_arms,
    two_proportions,
    welch,
    welch_lift,
)
from libs.statistics.sums import MICRO, Sums, exact_sums

VALUES = st.floats(-1e12, 1e12, allow_nan=False)
SAMPLES = st.lists(VALUES, max_size=6).map(exact_sums)


def rate(units: int, converted: int) -> Sums:
    """Return the sums of a proportion."""
    return Sums(units, converted, converted * MICRO, converted * MICRO * MICRO)


def fixed(found: Fixed | NotEnough) -> Fixed:
    """Return the result, which there must be."""
    assert isinstance(found, Fixed)
    return found


def both_of(treatment: Sums, control: Sums) -> Arms:
    """Return the arms, which there must be."""
    both = mean_arms(treatment, control)
    assert isinstance(both, Arms)
    return both


@pytest.mark.parametrize(
    ("treatment", "control", "word"),
    [
        (Sums(), Sums(), "no units"),
        (rate(0, 0), rate(10, 2), "no units"),
        (rate(10, 0), rate(10, 0), "nobody converted"),
        (rate(10, 10), rate(10, 10), "everybody converted"),
    ],
)
def test_proportions_without_an_answer_say_why(treatment: Sums, control: Sums, word: str) -> None:
    """No units, none or all converted: a reason."""
    found = two_proportions(treatment, control)
    assert isinstance(found, NotEnough)
    assert word in found.reason


def test_an_arm_without_conversions_does_not_narrow_the_interval() -> None:
    """None of 500 against 5 of 500: the unpooled interval would count no variance for the first."""
    found = fixed(two_proportions(rate(500, 0), rate(500, 5)))
    assert found.method == TWO_PROPORTIONS
    assert found.lower < found.estimate < found.upper
    assert found.upper - found.lower > 2 * 1.96 * math.sqrt(0.01 * 0.99 / 500)


def test_the_interval_of_proportions_is_newcombes() -> None:
    """The example of Newcombe (1998), table II (a), method 10: 56 of 70 against 48 of 80."""
    found = fixed(two_proportions(rate(70, 56), rate(80, 48)))
    assert (round(found.lower, 4), round(found.upper, 4)) == (0.0524, 0.3339)


def test_with_many_conversions_the_interval_is_the_unpooled_one() -> None:
    """5,000 and 5,200 of 100,000: within a part in a thousand of z times the unpooled standard error."""
    found = fixed(two_proportions(rate(10**5, 5_200), rate(10**5, 5_000)))
    radius = 1.959964 * math.sqrt((0.052 * 0.948 + 0.05 * 0.95) / 10**5)
    assert found.upper - found.lower == pytest.approx(2 * radius, rel=1e-3)


def test_with_few_conversions_the_interval_holds_the_truth() -> None:
    """1 % against 0.8 % in a tenth of 20,000 units, 16 conversions: 94.6 % of 20,000 draws or more, where the
    unpooled interval holds it in 94.0 %."""
    chance = np.random.default_rng(17)
    drawn = zip(chance.binomial(2_000, 0.008, 20_000), chance.binomial(18_000, 0.01, 20_000), strict=True)
    found = [fixed(two_proportions(rate(2_000, int(one)), rate(18_000, int(zero)))) for one, zero in drawn]
    assert sum(each.lower <= -0.002 <= each.upper for each in found) >= 0.946 * len(found)


@pytest.mark.parametrize("units", [0, 1])
def test_means_want_two_units_a_variant(units: int) -> None:
    """One unit has a value and no variance."""
    found = mean_arms(exact_sums([3.0] * units), exact_sums([1.0, 2.0]))
    assert isinstance(found, NotEnough)
    assert "two units" in found.reason


def test_no_variance_anywhere_is_a_reason() -> None:
    """Constants differ or do not: neither can be judged by a t-test."""
    both = both_of(exact_sums([3.0, 3.0]), exact_sums([1.0, 1.0]))
    for found in (welch(both), welch_lift(both)):
        assert isinstance(found, NotEnough)
        assert "same value" in found.reason


def test_one_arm_without_variance_leaves_the_others_degrees() -> None:
    """Satterthwaite's degrees are then those of the arm that varies."""
    found = fixed(welch(both_of(exact_sums([3.0] * 9), exact_sums([1.0, 2.0, 4.0, 1.0]))))
    assert found.df == pytest.approx(3.0)


def test_a_lift_over_nothing_is_refused() -> None:
    """A control mean of 0 has no relative lift."""
    found = welch_lift(both_of(exact_sums([3.0, 4.0]), exact_sums([-1.0, 1.0])))
    assert isinstance(found, NotEnough)
    assert "control's mean is 0" in found.reason


def test_overwhelming_evidence_is_a_number() -> None:
    """A million units, 40 % against 60 %: ln p is finite and far below what a float can hold."""
    assert -math.inf < fixed(two_proportions(rate(10**6, 600_000), rate(10**6, 400_000))).log_p < -10_000


def test_interval_and_p_value_agree_on_the_lift() -> None:
    """p < alpha exactly when the interval excludes 0: the p-value is the interval's own."""
    both = both_of(exact_sums([3.0, 4.0, 5.0, 6.0]), exact_sums([1.0, 2.0, 3.0, 3.5]))
    at_p = math.exp(fixed(welch_lift(both)).log_p)
    assert fixed(welch_lift(both, at_p * 1.001)).lower > 0
    assert fixed(welch_lift(both, at_p * 0.999)).lower < 0


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_an_alpha_that_is_none_is_refused_by_name(alpha: float) -> None:
    """The message names the field to change, whatever the data."""
    both = both_of(exact_sums([3.0, 4.0]), exact_sums([1.0, 1.5]))
    with pytest.raises(ValueError, match="alpha"):
        welch(both, alpha)
    with pytest.raises(ValueError, match="alpha"):
        welch_lift(both, alpha)
    with pytest.raises(ValueError, match="alpha"):
        two_proportions(rate(5, 1), rate(5, 2), alpha)


@given(SAMPLES, SAMPLES, st.sampled_from([1e-300, 1e-9, 0.05, 0.999999]))
def test_never_nan_never_infinite(treatment: Sums, control: Sums, alpha: float) -> None:
    """Whatever the values (to 1e12) and however few, a result is finite or says why there is none."""
    both = mean_arms(treatment, control)
    found = [] if isinstance(both, NotEnough) else [welch(both, alpha), welch_lift(both, alpha)]
    for each in (*found, two_proportions(treatment, control, alpha)):
        if isinstance(each, Fixed):
            assert each.lower <= each.estimate <= each.upper
            assert all(math.isfinite(x) for x in (each.estimate, each.lower, each.upper, each.log_p))
