"""Tails as logarithms, where the tail itself is no number any more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from libs.statistics.tails import critical_value, two_sided_log_p

DEGREES = st.floats(1, 1e6)


@given(st.floats(-30, 30), DEGREES)
def test_students_tail_is_scipys_where_scipy_has_one(statistic: float, df: float) -> None:
    """As long as the tail is a float, its logarithm is that of scipy."""
    expected = float(t.sf(abs(statistic), df))
    if expected > 1e-280:
        assert two_sided_log_p(statistic, df) == pytest.approx(math.log(2 * expected), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(
    ("statistic", "df", "expected"),
    [
        (60.0, 1_000.0, -766.5857865425212),
        (50.0, 1e5, -1238.7564996631654),
        (40.0, 1e7, -803.8512216903164),
        (200.0, 5_000.0, -5497.487014759517),
        (1e120, 3.0, -828.1397628582519),
        (1e6, 80.0, -932.3797088419643),
    ],
)
def test_beyond_a_float_it_is_that_of_sixty_digits(statistic: float, df: float, expected: float) -> None:
    """Where scipy says 0, the regularised incomplete beta function at 60 digits (mpmath) says this."""
    assert two_sided_log_p(statistic, df) == pytest.approx(expected, rel=1e-11)


@given(st.floats(allow_nan=False), st.one_of(st.none(), DEGREES))
def test_every_statistic_has_a_finite_logarithm(statistic: float, df: float | None) -> None:
    """Even at 1e308 and infinity: finite and at most 0."""
    assert math.isfinite(two_sided_log_p(statistic, df))
    assert two_sided_log_p(statistic, df) <= 0


def test_critical_values_are_the_textbooks() -> None:
    """1.96 and the t table; a huge one where the degrees are few and alpha is tiny."""
    assert critical_value(0.05, None) == pytest.approx(norm.ppf(0.975))
    assert critical_value(0.05, 10.0) == pytest.approx(2.2281388519649385)
    assert math.isfinite(critical_value(1e-300, 1.0))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_an_alpha_that_is_none_is_refused_by_name(alpha: float) -> None:
    """The message names the field to change."""
    with pytest.raises(ValueError, match="alpha"):
        critical_value(alpha, None)
