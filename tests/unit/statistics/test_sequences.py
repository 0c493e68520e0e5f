"""The asymptotic confidence sequence against its formula, written out once more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.sequences import (
    SMALLEST_P,
    Tuning,
    log_p_value,
    one_sided_radius,
    shown_p_value,
    two_sided_radius,
)

ALPHAS = st.floats(1e-12, 0.5)
VARIANCES = st.floats(1e-12, 1e12)


@given(ALPHAS, st.integers(2, 10**9), VARIANCES, st.integers(1, 10**6))
def test_both_radii_are_the_papers(alpha: float, t: int, variance: float, tuned: int) -> None:
    """Theorem 2.2 with s² = t V, and the one-sided form with twice the alpha in rho."""

    def by_the_paper(level: float, log_term: float) -> float:
        rho2 = rho_squared(level)
        return math.sqrt(t * variance) * math.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * log_term)

    def rho_squared(level: float) -> float:
        return (-2 * math.log(level) + math.log(-2 * math.log(level) + 1)) / tuned

    tuning = Tuning(alpha, tuned)
    two = by_the_paper(alpha, math.log(math.sqrt(t * rho_squared(alpha) + 1) / alpha))
    assert two_sided_radius(variance, t, tuning) == pytest.approx(two, rel=1e-6)
    one = rho_squared(min(2 * alpha, 0.5))
    one = by_the_paper(min(2 * alpha, 0.5), math.log(1 + math.sqrt(t * one + 1) / (2 * alpha)))
    assert one_sided_radius(variance, t, tuning) == pytest.approx(one, rel=1e-6)


@given(ALPHAS, st.integers(200, 10**7), VARIANCES, st.floats(-10, 10))
def test_the_p_value_crosses_alpha_where_the_interval_leaves_zero(
    alpha: float, units: int, variance: float, z: float
) -> None:
    """p < alpha exactly when the two-sided interval excludes 0 (away from the boundary's rounding)."""
    tuning = Tuning(alpha)
    estimate = z * math.sqrt(variance)
    radius = two_sided_radius(variance, units, tuning)
    if abs(abs(estimate) - radius) > 1e-9 * radius:
        significant = log_p_value(estimate, variance, units, tuning) < math.log(alpha)
        assert significant == (abs(estimate) > radius)


def test_it_is_tightest_about_where_it_is_tuned_to() -> None:
    """Relative to a fixed-sample interval, no other sample size has a narrower sequence by much."""
    tuning = Tuning(0.05, 5_000)
    widths = {units: two_sided_radius(1.0, units, tuning) for units in (500, 5_000, 50_000)}
    assert min(widths, key=lambda units: widths[units]) == 5_000


def test_overwhelming_evidence_is_a_number() -> None:
    """At z = 50, and far beyond what a float can hold, p is positive and finite."""
    for z in (50.0, 1e9, 1e160):
        log_p = log_p_value(z, 1.0, 10_000, Tuning())
        assert math.isfinite(log_p)
        assert log_p < -500
        assert shown_p_value(log_p) >= SMALLEST_P > 0
    assert shown_p_value(0.0) == 1.0


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_an_alpha_that_is_none_is_refused_by_name(alpha: float) -> None:
    """The message names the field to change."""
    with pytest.raises(ValueError, match="alpha"):
        Tuning(alpha)


@pytest.mark.parametrize("alpha", [1e-300, 0.5, 0.999999, math.nextafter(1.0, 0.0)])
def test_extreme_alphas_give_finite_numbers(alpha: float) -> None:
    """Nothing divides by zero at either end."""
    tuning = Tuning(alpha, 1)
    assert math.isfinite(two_sided_radius(1.0, 2, tuning))
    assert math.isfinite(one_sided_radius(1.0, 2, tuning))
    assert math.isfinite(log_p_value(1.0, 1.0, 2, tuning))
