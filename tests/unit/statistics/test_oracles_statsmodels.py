"""statsmodels and scipy on the same data: tables of cases and drawn ones.

* Welch: `CompareMeans` with unequal variances. Equal to nine digits.
* Two proportions: `proportions_ztest` (pooled) and `confint_proportions_2indep` ("newcomb"). Equal to nine
  digits.
* CUPED is analysis of covariance with one slope: theta and the difference are the coefficients of the least
  squares fit of y on variant and x, to nine digits. Its standard error is not: ordinary least squares pools
  one residual variance over the variants (and takes off a degree of freedom), ours lets them differ, as
  Welch does. At equal variances and many units they are within a per cent.
* Ratios: least squares have no such thing; the delta method's variance is compared with a jackknife of
  whole units, within 2 %.
* Quantiles: `scipy.stats.quantile_test` has the same binomial interval, rank by rank; where it says -inf or
  inf, ours is a reason.
"""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, quantile_test
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from libs.statistics.cuped import adjusted_arms, adjustment
from libs.statistics.differences import Arm, Arms, NotEnough
from libs.statistics.fixed_horizon import Fixed, mean_arms, two_proportions, welch
from libs.statistics.pairs import exact_pairs
from libs.statistics.quantile_sketch import Sketch
from libs.statistics.quantiles import Asked, Look, QuantileInterval, quantile_interval
from libs.statistics.ratios import ratio_arm
from libs.statistics.sequences import Tuning
from libs.statistics.sums import MICRO, Sums, exact_sums

INTEGERS = st.lists(st.integers(-1_000, 1_000).map(float), min_size=2, max_size=30)
ALPHAS = st.sampled_from([0.001, 0.05, 0.2])


def fixed(found: Fixed | NotEnough) -> Fixed:
    """Return the result, which there must be."""
    assert isinstance(found, Fixed)
    return found


def check_welch(one: list[float], zero: list[float], alpha: float) -> None:
    """Assert that both say the same of two samples."""
    both = mean_arms(exact_sums(one), exact_sums(zero))
    assert isinstance(both, Arms)
    found = fixed(welch(both, alpha))
    theirs = CompareMeans(DescrStatsW(one), DescrStatsW(zero))
    _, p_value, df = theirs.ttest_ind(usevar="unequal")
    assert found.df == pytest.approx(df, rel=1e-9)
    if p_value > 1e-300:
        assert found.log_p == pytest.approx(math.log(p_value), rel=1e-8, abs=1e-9)
    ends = theirs.tconfint_diff(alpha=alpha, usevar="unequal")
    assert (found.lower, found.upper) == pytest.approx(ends, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("one", "zero"),
    [
        ([1.0, 2.0, 3.0], [2.0, 4.0, 9.0, 1.0]),
        ([0.0] * 30 + [7.0], [0.0] * 300 + [5.0, 9.0]),
        ([1e12, 1e12 + 1, 1e12 + 5], [1e12, 1e12 + 2]),
        (list(np.arange(1_000.0)), list(np.arange(500.0) * 2.0 + 300.0)),
        ([5.0, 5.0, 5.0], [1.0, 2.0]),
    ],
)
def test_welch_on_a_table(one: list[float], zero: list[float]) -> None:
    """Few, sparse, far from zero, many, and one constant variant."""
    check_welch(one, zero, 0.05)


@given(INTEGERS, INTEGERS, ALPHAS)
def test_welch_on_drawn_samples(one: list[float], zero: list[float], alpha: float) -> None:
    """Whatever is drawn, unless neither sample varies."""
    assume(len(set(one)) > 1 or len(set(zero)) > 1)
    check_welch(one, zero, alpha)


@given(st.integers(1, 5_000), st.integers(1, 5_000), st.floats(0, 1), st.floats(0, 1), ALPHAS)
def test_two_proportions_on_drawn_tables(
    n1: int, n0: int, share1: float, share0: float, alpha: float
) -> None:
    """p-value and Newcombe's interval, also where a variant is all or none."""
    k1, k0 = round(n1 * share1), round(n0 * share0)
    assume(0 < k1 + k0 < n1 + n0)
    one, zero = (Sums(n, k, k * MICRO, k * MICRO**2) for n, k in ((n1, k1), (n0, k0)))
    found = fixed(two_proportions(one, zero, alpha))
    _, p_value = proportions_ztest([k1, k0], [n1, n0])
    if p_value > 1e-300:
        assert found.log_p == pytest.approx(math.log(p_value), rel=1e-8, abs=1e-9)
    ends = confint_proportions_2indep(k1, n1, k0, n0, method="newcomb", compare="diff", alpha=alpha)
    assert (found.lower, found.upper) == pytest.approx(ends, rel=1e-9, abs=1e-9)


def covariate_fit(rng: np.random.Generator, units: int) -> tuple[list[list[tuple[float, float]]], OLS]:
    """Return three variants of (y, x) and the least squares fit of y on variant and x."""
    x = np.round(rng.gamma(2.0, 5.0, (3, units)), 2)
    y = np.round(0.7 * x + np.array([[0.0], [1.0], [-0.5]]) + rng.normal(0.0, 3.0, (3, units)), 2)
    dummies = np.repeat(np.eye(3), units, axis=0)
    fit = OLS(y.ravel(), np.column_stack([dummies, x.ravel()])).fit()
    return [list(zip(y[arm].tolist(), x[arm].tolist(), strict=True)) for arm in range(3)], fit


@pytest.mark.parametrize("units", [5, 60, 4_000])
def test_cuped_is_the_analysis_of_covariance(units: int) -> None:
    """theta and the adjusted differences of three variants are the fit's coefficients."""
    variants, fit = covariate_fit(np.random.default_rng(units), units)
    sums = [exact_pairs(each) for each in variants]
    by = adjustment(sums)
    assert by.theta == pytest.approx(fit.params[3], rel=1e-9)
    both = adjusted_arms(sums[1], sums[0], by, floored=False)
    assert isinstance(both, Arms)
    assert both.estimate == pytest.approx(fit.params[1] - fit.params[0], rel=1e-9)
    if units == 4_000:
        error = fit.t_test([-1.0, 1.0, 0.0, 0.0]).sd.item()
        assert math.sqrt(both.variance) == pytest.approx(error, rel=0.01)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_variance_of_a_ratio_is_the_jackknifes(seed: int) -> None:
    """Leaving out one unit after the other of 2,000 gives the same variance within 2 %."""
    chance = np.random.default_rng(seed)
    views = chance.poisson(4.0, 2_000).astype(float)
    clicks = chance.binomial(views.astype(int), chance.beta(2.0, 8.0, 2_000)).astype(float)
    found = ratio_arm(exact_pairs(zip(clicks.tolist(), views.tolist(), strict=True)))
    assert isinstance(found, Arm)
    without: NDArray[np.float64] = (clicks.sum() - clicks) / (views.sum() - views)
    jackknife = (2_000 - 1) ** 2 / 2_000 * np.var(without, ddof=1)
    assert found.mean_variance == pytest.approx(jackknife, rel=0.02)


@given(st.integers(1, 49), st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.sampled_from([0.05, 0.2]))
def test_quantile_intervals_are_scipys(units: int, share: float, alpha: float) -> None:
    """The ranks of the bounds, on values that the sketch holds exactly; where there is no bound, none."""
    values = np.arange(1, units + 1)
    sketch: Sketch = dict.fromkeys(values.tolist(), 1)
    found = quantile_interval(sketch, Asked(share, Tuning(alpha), Look.PLANNED))
    result = quantile_test(values, q=0.0, p=share).confidence_interval(1.0 - alpha)
    theirs = (float(result.low), float(result.high))
    if isinstance(found, NotEnough):
        assert not all(map(math.isfinite, theirs))
        return
    assert isinstance(found, QuantileInterval)
    ours = (found.lower * MICRO, found.upper * MICRO)
    tail = binom.cdf([round(ours[0]) - 1, round(ours[1]) - 1], units, share)
    assert tail[0] <= alpha / 2
    assert 1.0 - tail[1] <= alpha / 2 + 1e-12
    assert ours == pytest.approx(theirs, abs=1e-6)
