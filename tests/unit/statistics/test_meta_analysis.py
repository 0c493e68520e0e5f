"""Meta-analysis against statsmodels and by its own laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, t
from statsmodels.stats.meta_analysis import combine_effects

from libs.statistics.differences import NotEnough
from libs.statistics.meta_analysis import Study, Synthesis, synthesise

PAIRS = st.lists(st.tuples(st.floats(-100, 100), st.floats(0.01, 100)), min_size=2, max_size=30)


def synthesis(pairs: list[tuple[float, float]], alpha: float = 0.05) -> Synthesis:
    """Return the synthesis, which there must be."""
    found = synthesise([Study(f"e{i}", *pair) for i, pair in enumerate(pairs)], alpha=alpha)
    assert isinstance(found, Synthesis)
    return found


@given(PAIRS, st.floats(0.001, 0.5))
@settings(deadline=None, max_examples=60)
def test_it_is_that_of_statsmodels(pairs: list[tuple[float, float]], alpha: float) -> None:
    """Fixed and random effects, their intervals, τ² of DerSimonian and Laird, Q and I².

    Where Q is less than its degrees of freedom statsmodels goes on with the negative τ² of the formula
    (narrower intervals than those of equal effects, or a division by 0). DerSimonian and Laird cut it off at
    0, and so do we: there the two estimates are one.
    """
    found = synthesis(pairs, alpha)
    estimates, variances = zip(*pairs, strict=True)
    if found.q <= len(pairs) - 1:
        assert found.random == found.fixed
        assert found.fixed.estimate == pytest.approx(np.average(estimates, weights=1 / np.array(variances)))
        return
    theirs = combine_effects(np.array(estimates), np.array(variances), method_re="chi2", alpha=alpha)
    assert found.tau_squared == pytest.approx(theirs.tau2, rel=1e-7, abs=1e-9)
    assert found.q == pytest.approx(theirs.q, rel=1e-7, abs=1e-9)
    assert found.i_squared == pytest.approx(theirs.i2, abs=1e-7)
    table = theirs.summary_frame(alpha=alpha)
    for ours, row in ((found.fixed, "fixed effect"), (found.random, "random effect")):
        expected = table.loc[row]
        assert [ours.estimate, ours.lower, ours.upper] == pytest.approx(
            [expected["eff"], expected["ci_low"], expected["ci_upp"]], rel=1e-6, abs=1e-8
        )
    if chi2.sf(found.q, len(pairs) - 1) > 1e-290:
        expected_p = chi2.sf(found.q, len(pairs) - 1)
        assert math.exp(found.log_p_q) == pytest.approx(expected_p, rel=1e-8)


def test_the_prediction_interval_is_higgins() -> None:
    """t with k - 2 degrees of freedom and the variance τ² + that of the mean."""
    found = synthesis([(0.10, 0.001), (0.30, 0.002), (0.35, 0.004), (0.02, 0.001)])
    assert found.tau_squared > 0
    radius = t.ppf(0.975, 2) * math.sqrt(found.tau_squared + found.random.variance)
    centre = found.random.estimate
    assert found.prediction == pytest.approx((centre - radius, centre + radius))


def test_experiments_that_agree_have_no_variance_between_them() -> None:
    """τ² and I² are 0 and both estimates the same."""
    found = synthesis([(0.1, 0.01)] * 4)
    assert (found.tau_squared, found.i_squared) == (0.0, 0.0)
    assert found.fixed == found.random
    assert found.log_p_q == 0.0


def test_one_experiment_speaks_for_itself() -> None:
    """Its own interval; nothing to compare; no prediction, and the reason why."""
    found = synthesis([(0.5, 0.04)])
    assert found.fixed.estimate == found.random.estimate == 0.5
    assert found.fixed.lower == pytest.approx(0.5 - 1.959964 * 0.2)
    assert isinstance(found.prediction, NotEnough)
    assert "three" in found.prediction.reason


def numbers(found: Synthesis) -> list[float]:
    """Return every number of a synthesis."""
    pooled = [
        value
        for each in (found.fixed, found.random)
        for value in (each.estimate, each.variance, each.lower, each.upper, each.log_p)
    ]
    prediction = [] if isinstance(found.prediction, NotEnough) else list(found.prediction)
    return [*pooled, *prediction, found.tau_squared, found.q, found.log_p_q, found.i_squared]


@given(st.lists(st.tuples(st.floats(-1e100, 1e100), st.floats(1e-100, 1e100)), min_size=1, max_size=6))
def test_never_nan_never_infinite(pairs: list[tuple[float, float]]) -> None:
    """However far apart sizes and precisions are: numbers, or a reason."""
    found = synthesise([Study("e", *pair) for pair in pairs])
    if isinstance(found, Synthesis):
        assert all(map(math.isfinite, numbers(found)))
        assert 0 <= found.i_squared <= 1


@pytest.mark.parametrize("study", [(math.nan, 1.0), (0.1, 0.0), (0.1, -1.0), (0.1, math.inf)])
def test_an_experiment_without_usable_numbers_is_named(study: tuple[float, float]) -> None:
    """No silent omission: the reason says which one."""
    found = synthesise([Study("spring", 0.1, 0.01), Study("autumn", *study)])
    assert isinstance(found, NotEnough)
    assert "autumn" in found.reason


def test_no_experiments_and_no_level() -> None:
    """None is a reason, an alpha out of range is refused by name."""
    assert isinstance(synthesise([]), NotEnough)
    with pytest.raises(ValueError, match="alpha"):
        synthesise([Study("e", 0.1, 0.1)], alpha=1.0)
