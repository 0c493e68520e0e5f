"""Intervals of the relative lift."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from libs.statistics.comparisons import Answer, Question, compare_arms
from libs.statistics.cuped import adjusted_arms, adjustment
from libs.statistics.differences import Arm, Arms, NotEnough
from libs.statistics.lifts import (
    VALUES_BURN_IN_UNITS,
    LiftInterval,
    LiftMethod,
    always_valid_lift,
    fixed_lift,
)
from libs.statistics.pairs import exact_pairs
from libs.statistics.sequences import Tuning, two_sided_radius

MEANS = st.one_of(st.floats(-1e12, 1e12), st.floats(-10, 10), st.just(0.0))
VARIANCES = st.floats(1e-12, 1e24)
ARMS = st.builds(
    Arms,
    st.builds(Arm, st.integers(2, 10**9), MEANS, VARIANCES),
    st.builds(Arm, st.integers(2, 10**9), MEANS, VARIANCES),
    st.one_of(st.just(0.0), st.floats(1e-12, 1e12)),
)
METHODS = pytest.mark.parametrize("method", list(LiftMethod))


def pair(treatment: float, control: float, variance: float = 1.0, units: int = 100) -> Arms:
    """Return two arms of equal size and variance."""
    return Arms(Arm(units, treatment, variance), Arm(units, control, variance))


def interval(found: LiftInterval | NotEnough) -> LiftInterval:
    """Return the interval, which there must be."""
    assert isinstance(found, LiftInterval)
    return found


def test_fiellers_ends_are_where_the_contrast_is_a_radius_from_zero() -> None:
    """At both ends |m1 - (1 + L) m0| equals the radius of that contrast's own variance; also with an error
    that both means share, and at an unequal split."""
    for shared in (0.0, 0.004):
        both = Arms(Arm(300, 5.5, 9.0), Arm(900, 5.0, 4.0), shared)
        tuning = Tuning(0.05, 2_000)
        found = interval(always_valid_lift(both, tuning))
        for end in (found.lower, found.upper):
            estimate, variance = both.contrast(1.0 + end)
            assert abs(estimate) == pytest.approx(two_sided_radius(variance, both.units, tuning))
        assert found.lower < 0.1 < found.upper


# Arms of all sizes: many have no bounded interval.
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(ARMS, st.floats(1e-6, 0.5))
def test_fiellers_interval_excludes_zero_exactly_when_that_of_the_difference_does(
    both: Arms, alpha: float
) -> None:
    """L = 0 asks about m1 - m0 itself: the two questions have one answer (away from the rounding)."""
    found = always_valid_lift(both, Tuning(alpha))
    assume(isinstance(found, LiftInterval))
    radius = two_sided_radius(both.variance, both.units, Tuning(alpha))
    assume(abs(abs(both.estimate) - radius) > 1e-6 * radius)
    excludes = interval(found).lower > 0 or interval(found).upper < 0
    assert excludes == (abs(both.estimate) > radius)


@METHODS
def test_a_negative_control_is_measured_by_its_size(method: LiftMethod) -> None:
    """From -10 to -12 is -20 %, and the interval is that of 10 to 12 mirrored."""
    plus = interval(fixed_lift(pair(12.0, 10.0), method=method))
    minus = interval(fixed_lift(pair(-12.0, -10.0), method=method))
    assert minus.estimate == pytest.approx(-0.2)
    assert (minus.lower, minus.upper) == pytest.approx((-plus.upper, -plus.lower))


def test_far_from_zero_both_methods_agree() -> None:
    """With the control's mean 1,000 standard errors away from 0 the two differ in the fourth digit."""
    both = pair(105.0, 100.0)
    delta, fieller = (interval(fixed_lift(both, method=each)) for each in LiftMethod)
    assert (delta.lower, delta.upper) == pytest.approx((fieller.lower, fieller.upper), rel=1e-2)


@METHODS
@pytest.mark.parametrize(
    ("treatment", "control", "word"),
    [(1.0, 0.0, "control's mean is 0"), (1.0, 1e-320, "too near 0"), (1.0, 0.15, "control's mean is")],
)
def test_a_control_near_zero_is_a_reason(
    method: LiftMethod, treatment: float, control: float, word: str
) -> None:
    """At 0, a hair from it, or within its own error (0.1): no bounded interval, and the reason."""
    both = pair(treatment, control)
    for found in (fixed_lift(both, method=method), always_valid_lift(both, Tuning(), method)):
        assert isinstance(found, NotEnough)
        assert word in found.reason


def test_fieller_covers_where_the_delta_method_does_not() -> None:
    """Control mean 14 standard errors from 0, lift 100 %: over 4,000 draws Fieller covers 95 % and misses as
    often on either side, the delta method more on one side than on the other."""
    chance = np.random.default_rng(5)
    missed = {each: [0, 0] for each in LiftMethod}
    for one, zero in zip(chance.normal(28.0, 1.0, 4_000), chance.normal(14.0, 1.0, 4_000), strict=True):
        both = Arms(Arm(2, float(one), 2.0), Arm(2, float(zero), 2.0))
        for method, sides in missed.items():
            found = interval(fixed_lift(both, method=method))
            sides[0] += found.upper < 1.0
            sides[1] += found.lower > 1.0
    low, high = missed[LiftMethod.FIELLER]
    assert low + high < 0.06 * 4_000
    assert 0.7 < low / high < 1.4
    low, high = missed[LiftMethod.DELTA]
    assert low > 3 * high


@pytest.mark.parametrize("validity", ["one look", "any look"])
def test_the_delta_method_wants_ten_standard_errors(validity: str) -> None:
    """With the control's mean 9.9 standard errors from 0 it names Fieller's, which answers; with 10.1 it
    answers itself."""

    def found(control: float, method: LiftMethod) -> LiftInterval | NotEnough:
        both = pair(1.2 * control, control)
        return (
            fixed_lift(both, method=method)
            if validity == "one look"
            else always_valid_lift(both, Tuning(), method)
        )

    near = found(0.99, LiftMethod.DELTA)
    assert isinstance(near, NotEnough)
    assert "within 10 standard errors of 0: ask for Fieller" in near.reason
    assert isinstance(found(1.01, LiftMethod.DELTA), LiftInterval)
    assert isinstance(found(0.99, LiftMethod.FIELLER), LiftInterval)


@METHODS
def test_the_lift_of_values_waits_for_its_burn_in(method: LiftMethod) -> None:
    """One unit short of it in either variant there is a reason with both numbers; then an interval."""
    few, enough = Arm(VALUES_BURN_IN_UNITS - 1, 5.0, 1.0), Arm(VALUES_BURN_IN_UNITS, 5.0, 1.0)
    for both in (Arms(few, enough), Arms(enough, few)):
        found = always_valid_lift(both, Tuning(), method, burn_in_units=VALUES_BURN_IN_UNITS)
        assert isinstance(found, NotEnough)
        assert found.reason.startswith("999 units in the smaller variant")
        assert "starts at 1000" in found.reason
        assert isinstance(always_valid_lift(both, Tuning(), method), LiftInterval)
    both = Arms(enough, enough)
    assert isinstance(
        always_valid_lift(both, Tuning(), method, burn_in_units=VALUES_BURN_IN_UNITS), LiftInterval
    )


def test_cupeds_overall_mean_counts_in_a_lift_far_from_zero() -> None:
    """A treatment that doubles the mean: the error of x̄, which both adjusted means share, cancels in the
    difference but not in the lift. With it 95 % intervals cover; without it they would not."""
    chance = np.random.default_rng(11)
    covered = without = 0
    for _ in range(400):
        x = chance.normal(10.0, 3.0, (2, 60))
        y = np.stack([10.0 + x[0], x[1]]) + chance.normal(0.0, 0.3, (2, 60))
        one, zero = (exact_pairs(zip(y[arm].tolist(), x[arm].tolist(), strict=True)) for arm in (0, 1))
        both = adjusted_arms(one, zero, adjustment([one, zero]), floored=False)
        assert isinstance(both, Arms)
        plain = Arms(both.treatment, both.control)
        found, narrow = interval(fixed_lift(both)), interval(fixed_lift(plain))
        covered += found.lower <= 1.0 <= found.upper
        without += narrow.lower <= 1.0 <= narrow.upper
    assert covered >= 366
    assert without < 250


@METHODS
@given(ARMS, st.sampled_from([1e-300, 0.05, 0.999999]))
def test_never_nan_never_infinite(method: LiftMethod, both: Arms, alpha: float) -> None:
    """Whatever the arms, an interval is finite and holds its estimate, or there is a reason."""
    for found in (
        fixed_lift(both, alpha, method=method),
        fixed_lift(both, alpha, 3.0, method),
        always_valid_lift(both, Tuning(alpha), method),
    ):
        if isinstance(found, LiftInterval):
            assert -math.inf < found.lower <= found.estimate <= found.upper < math.inf


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_an_alpha_that_is_none_is_refused_by_name(alpha: float) -> None:
    """The message names the field to change."""
    with pytest.raises(ValueError, match="alpha"):
        fixed_lift(pair(2.0, 1.0), alpha)


def test_evidence_beyond_all_floats_is_a_reason() -> None:
    """Two arms whose variance a float can't hold have no answer, and no infinity."""
    found = compare_arms(pair(1.0, 1.0, variance=1e308, units=1_000), Question(proportion=False))
    assert isinstance(found, Answer)
    assert math.isfinite(found.upper)
    found = compare_arms(pair(1.0, 1.0, variance=math.inf, units=1_000), Question(proportion=False))
    assert isinstance(found, NotEnough)
    assert "too large" in found.reason
