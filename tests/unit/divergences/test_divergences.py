"""PSI and Kolmogorov-Smirnov against known answers, SciPy and simulation."""

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from libs.statistics.divergences import (
    ks_p_value,
    population_stability_index,
    psi_by_chance,
    quantile_groups,
    shift_of,
)
from libs.statistics.profiles import build_reference
from libs.statistics.value_counts import ValueCounts
from schemas.versions import FeatureReference

RNG = np.random.default_rng(20_240_501)


def _reference(values: list[float]) -> FeatureReference:
    return build_reference({"x": values}, score=None).features[0]


def test_psi_by_hand() -> None:
    """Shares (0.5, 0.5) against (0.4, 0.6): 0.1 ln 1.25 + 0.1 ln 1.2, up to the smoothing."""
    psi = population_stability_index(np.array([50.0, 50.0]), np.array([40.0, 60.0]))
    assert psi == pytest.approx(0.1 * math.log(1.25) + 0.1 * math.log(1.2), rel=1e-3)


def test_psi_of_an_empty_bin_is_finite() -> None:
    """A bin that was empty gives the stated smoothing, not infinity."""
    psi = population_stability_index(np.array([100.0, 0.0]), np.array([50.0, 50.0]))
    assert psi == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(0.5 / 1e-4), rel=2e-3)


def test_psi_by_chance_is_its_mean() -> None:
    """Over 400 pairs of samples from one distribution PSI averages (B-1)(1/n + 1/m)."""
    psis = []
    for _ in range(400):
        reference = RNG.multinomial(4_000, [0.1] * 10).astype(float)
        psis.append(population_stability_index(reference, RNG.multinomial(1_000, [0.1] * 10).astype(float)))
    assert np.mean(psis) == pytest.approx(psi_by_chance(10, 4_000, 1_000), rel=0.1)


def test_ks_is_scipys_on_few_values() -> None:
    """Where every value has a bin, the statistic is SciPy's two-sample one to the last digit."""
    reference, current = RNG.integers(0, 17, 3_000), RNG.binomial(16, 0.55, 900)
    shift = shift_of(_reference(reference.tolist()), ValueCounts.of(current.astype(float)))
    assert shift.ks == pytest.approx(ks_2samp(reference, current).statistic, abs=1e-12)


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.5, 2.0])
def test_ks_never_exceeds_scipys(offset: float) -> None:
    """Bins and coarse histograms only make the statistic smaller, by at most what one bin holds."""
    reference, current = RNG.normal(size=5_000), RNG.normal(offset, 1, 2_000)
    shift = shift_of(_reference(reference.tolist()), ValueCounts.of(current))
    exact = ks_2samp(reference, current).statistic
    assert exact - 0.07 <= shift.ks <= exact + 1e-12


def test_ks_p_value_is_valid() -> None:
    """With nothing moved, p is below α in at most α of 2,000 pairs of samples, within the noise of that."""
    p_values = []
    for _ in range(2_000):
        reference, current = RNG.normal(size=300), RNG.normal(size=200)
        shift = shift_of(_reference(reference.tolist()), ValueCounts.of(current))
        p_values.append(shift.ks_p_value)
    for alpha in (0.01, 0.05, 0.2):
        assert np.mean(np.array(p_values) <= alpha) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / 2_000)


def test_ks_p_value_bounds_scipys() -> None:
    """The bound is above the exact probability, and close to it where it matters."""
    bound = ks_p_value(0.1, 1_000, 600)
    sample = np.arange(1_000)
    exact = ks_2samp(sample, np.quantile(sample, np.linspace(0.1, 1, 600))).pvalue
    assert exact < bound < 10 * exact or bound == pytest.approx(exact, rel=0.5)


def test_a_constant_that_moves_is_seen() -> None:
    """A feature that never changed has bins beside it: a tenth of other values is a large shift."""
    reference = _reference([3.0] * 2_000)
    still = shift_of(reference, ValueCounts.of([3.0] * 2_000))
    assert (still.psi, still.ks, still.ks_p_value) == (0.0, 0.0, 1.0)
    for other in (2.0, 4.0):
        moved = shift_of(reference, ValueCounts.of([3.0] * 1_800 + [other] * 200))
        assert moved.psi > 0.5
        assert moved.ks_p_value < 1e-6


def test_groups_hold_equal_shares() -> None:
    """Neighbouring bins are joined to about ten groups of equal share; ties stay together."""
    assert quantile_groups((0, *[5] * 20, 0)) == [0, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    assert quantile_groups((0, 500, *[100] * 5, 0)) == [0, 2, 3, 4, 5, 6]
    assert quantile_groups((0, 1_000, 0)) == [0, 1, 2]


def test_nothing_to_compare_is_refused() -> None:
    """An empty window or reference is an error, not a verdict."""
    with pytest.raises(ValueError, match="at least one"):
        shift_of(_reference([1.0]), ValueCounts())
