"""Pairs of rates against integrals over thousands of nodes: chances, losses, quantiles."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, betaln, expit, logit
from scipy.stats import norm

from libs.statistics.posteriors import RatePosterior
from libs.statistics.rate_pairs import RatePair

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(1_500)
_ODDS = (_NODES + 1.0) / 2.0
_PANELS, _PANEL_NODES = 250, np.polynomial.legendre.leggauss(20)
_OUTSIDE = 1e-18
Floats = NDArray[np.float64]


def posterior(units: int, rate: float) -> RatePosterior:
    """Return what is believed of an arm with about this rate, and ten conversions and misses at least."""
    converted = min(max(round(units * rate), 10), units - 10)
    return RatePosterior(converted, units - converted)


def spread_of(pair: RatePair) -> float:
    """Return the standard deviation of the difference."""
    return math.hypot(pair.treatment.spread, pair.control.spread)


def masses_of(arm: RatePosterior) -> tuple[Floats, Floats]:
    """Return rates and what each stands for: log-odds between two quantiles that nothing lies outside of, in
    panels of Gauss-Legendre's nodes."""
    a, b = arm.converted + 1.0, arm.missed + 1.0
    start, end = logit(betaincinv(a, b, _OUTSIDE)), -logit(betaincinv(b, a, _OUTSIDE))
    nodes, weights = _PANEL_NODES
    half = (end - start) / (2 * _PANELS)
    odds = (start + half * (1.0 + 2.0 * np.arange(_PANELS))[:, None] + half * nodes).ravel()
    density = np.exp(a * np.log(expit(odds)) + b * np.log(expit(-odds)) - betaln(a, b))
    return expit(odds), density * np.tile(half * weights, _PANELS)


def at_most(pair: RatePair, difference: float = 0.0, ratio: float = 1.0) -> float:
    """Return P(treatment ≤ ratio control + difference), over the rates of the narrower arm."""
    one, two = pair.treatment, pair.control
    if one.spread < two.spread:
        rates, masses = masses_of(one)
        reached = np.clip(1.0 - (rates - difference) / ratio, 0.0, 1.0)
        return float(betainc(two.missed + 1.0, two.converted + 1.0, reached) @ masses)
    rates, masses = masses_of(two)
    reached = np.clip(ratio * rates + difference, 0.0, 1.0)
    return float(betainc(one.converted + 1.0, one.missed + 1.0, reached) @ masses)


def shortfall(pair: RatePair) -> float:
    """Return E max(control - treatment, 0), as the mean over both, on a grid of probabilities."""
    one, two = (
        betaincinv(each.converted + 1.0, each.missed + 1.0, _ODDS) for each in (pair.treatment, pair.control)
    )
    return float(np.maximum(two[:, None] - one[None, :], 0.0) @ _WEIGHTS @ _WEIGHTS) / 4.0


EVEN = st.tuples(st.integers(25, 200_000), st.floats(0.01, 0.99))


@given(EVEN, st.integers(25, 200_000), st.floats(-4, 4), st.floats(0.001, 0.4))
@example((36, 0.277), 25, 3.5, 0.001)  # the kink at 0 of ten conversions, seen by the lower tail
@settings(max_examples=30, deadline=None)
def test_even_arms_are_correct_to_a_hundred_thousandth(
    treatment: tuple[int, float], units: int, apart: float, alpha: float
) -> None:
    """Ten conversions and misses each, rates up to four standard errors apart: chance and quantiles."""
    one = posterior(*treatment)
    two = posterior(units, min(max(one.mean + apart * one.spread, 0.001), 0.999))
    pair = RatePair(one, two)
    assert pair.chance_above() == pytest.approx(1.0 - at_most(pair), abs=1e-7)
    levels = (alpha / 2.0, 1.0 - alpha / 2.0)
    differences, lifts = pair.quantiles(levels, (0.5, *levels))
    for level, found in zip(levels, differences, strict=True):
        per_spread = norm.pdf(norm.ppf(level))
        assert at_most(pair, found) == pytest.approx(level, abs=1e-5 * per_spread + 1e-8)
    for level, found in zip((0.5, *levels), lifts, strict=True):
        per_spread = norm.pdf(norm.ppf(level))
        assert at_most(pair, ratio=1.0 + found) == pytest.approx(level, abs=1e-5 * per_spread + 1e-8)


@pytest.mark.parametrize(
    ("treatment", "control"),
    [((110, 890), (100, 900)), ((12, 300), (40, 3_000)), ((4, 96), (7, 93)), ((0, 30), (2, 60))],
)
def test_losses_are_the_mean_of_what_is_lost(treatment: tuple[int, int], control: tuple[int, int]) -> None:
    """Over a grid of a million pairs of rates; and both losses differ by the difference of the means."""
    pair = RatePair(RatePosterior(*treatment), RatePosterior(*control))
    assert pair.shortfall() == pytest.approx(shortfall(pair), abs=1e-4 * spread_of(pair))
    assert pair.excess() - pair.shortfall() == pytest.approx(pair.estimate(), abs=1e-15)


@pytest.mark.parametrize("treatment", [(0, 20), (1, 400), (3, 50), (9, 5_000), (50, 1)])
@pytest.mark.parametrize("control", [(0, 20), (2, 700), (8, 90), (300, 2)])
def test_few_conversions_are_correct_to_a_hundredth(
    treatment: tuple[int, int], control: tuple[int, int]
) -> None:
    """Quantiles of arms that hardly converted, or hardly missed."""
    pair = RatePair(RatePosterior(*treatment), RatePosterior(*control))
    levels = (0.025, 0.975)
    differences, lifts = pair.quantiles(levels, levels)
    for level, found, lift in zip(levels, differences, lifts, strict=True):
        around = [found - 0.01 * spread_of(pair), found + 0.01 * spread_of(pair)]
        assert at_most(pair, around[0]) <= level <= at_most(pair, around[1])
        assert at_most(pair, ratio=1.0 + lift) == pytest.approx(level, abs=1e-3)


@pytest.mark.parametrize("scale", [1, 10, 1_000, 10**6])
@pytest.mark.parametrize("alpha", [1e-9, 1e-6, 0.9])
def test_far_quantiles_stay_in_order(scale: int, alpha: float) -> None:
    """However small alpha is: finite, one below the other, with the estimate between them."""
    pair = RatePair(RatePosterior(0, 2 * scale), RatePosterior(scale, 3 * scale))
    (low, high), (lowest, middle, highest) = pair.quantiles(
        (alpha / 2.0, 1.0 - alpha / 2.0), (alpha / 2.0, 0.5, 1.0 - alpha / 2.0)
    )
    assert -1.0 <= low < high <= 1.0
    assert -1.0 <= lowest < middle < highest < math.inf
