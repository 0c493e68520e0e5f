"""The chi-square tail as a logarithm."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from libs.statistics.chi_square import log_chi_square_tail


@given(st.floats(0, 1_000), st.integers(1, 60))
def test_it_is_scipys_where_scipy_has_one(value: float, freedom: int) -> None:
    """As long as the tail is a float."""
    expected = float(chi2.sf(value, freedom))
    if expected > 1e-300:
        assert log_chi_square_tail(value, freedom) == pytest.approx(math.log(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("z", [38.0, 50.0, 1e3, 1e8])
def test_beyond_a_float_it_is_the_squared_normals(z: float) -> None:
    """One degree of freedom is z squared, whose tail is known as a logarithm; two are an exponential."""
    assert log_chi_square_tail(z * z, 1) == pytest.approx(math.log(2) + norm.logsf(z), rel=1e-12)
    assert log_chi_square_tail(z * z, 2) == pytest.approx(-z * z / 2, rel=1e-12)


@given(st.floats(-1, 1.7e308), st.integers(1, 10_000))
def test_it_is_always_finite(value: float, freedom: int) -> None:
    """And never above 0."""
    assert math.isfinite(log_chi_square_tail(value, freedom))
    assert log_chi_square_tail(value, freedom) <= 0


def test_no_degrees_are_refused() -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match="freedom"):
        log_chi_square_tail(1.0, 0)
