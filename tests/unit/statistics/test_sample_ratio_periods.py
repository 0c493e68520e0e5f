"""Periods of constant weights, and the fixed chi-square."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from libs.statistics.differences import NotEnough
from libs.statistics.sample_ratio import (
    FixedRatio,
    RatioPeriod,
    expected_shares,
    log_bayes_factor,
    log_bayes_factor_of,
    running_log_p,
    sample_ratio_fixed,
)

TENTH = {"old": 9.0, "new": 1.0}
HALF = {"old": 1.0, "new": 1.0}


def test_a_ramp_that_is_right_in_each_period_is_no_mismatch() -> None:
    """Together 14,000 to 6,000 would fit neither weights; period by period they fit both."""
    periods = [
        RatioPeriod(TENTH, {"old": 9_000, "new": 1_000}),
        RatioPeriod(HALF, {"old": 5_000, "new": 5_000}),
    ]
    assert log_bayes_factor_of(periods) < 0
    together = {"old": 14_000, "new": 6_000}
    assert log_bayes_factor(together, expected_shares(HALF)) > math.log(1_000)


def test_evidence_of_periods_adds_up() -> None:
    """Two periods, each a little off, are together more than either; none is none."""
    off = RatioPeriod(HALF, {"old": 5_250, "new": 4_750})
    one = log_bayes_factor_of([off])
    assert log_bayes_factor_of([off, off]) == pytest.approx(2 * one)
    assert one > 0
    assert log_bayes_factor_of([]) == 0.0


def test_looking_over_changing_weights_rarely_cries_wolf() -> None:
    """Among 400 fair ramps of four stages, looked at 400 times each, at most 5 % ever pass 1 in 20."""
    chance = np.random.default_rng(3)
    alarms = 0
    for _ in range(400):
        lowest, over = 0.0, 0.0
        for share in (0.1, 0.25, 0.5, 0.9):
            arrived = np.cumsum(chance.random(1_000) < share)[9::10]
            weights = {"old": 1 - share, "new": share}
            for look, new in enumerate(arrived.tolist()):
                observed = {"old": (look + 1) * 10 - new, "new": new}
                lowest = running_log_p(lowest, over + log_bayes_factor(observed, weights))
            over += log_bayes_factor_of([RatioPeriod(weights, observed)])
        alarms += lowest <= math.log(0.05)
    assert alarms <= 20


def test_the_p_value_only_falls() -> None:
    """It is the smallest ever; evidence for the split leaves it."""
    assert running_log_p(0.0, 3.0) == -3.0
    assert running_log_p(-3.0, 1.0) == -3.0
    assert running_log_p(-3.0, -9.0) == -3.0


COUNTS = st.lists(st.integers(50, 10_000), min_size=2, max_size=50)


@given(COUNTS)
def test_the_fixed_test_is_scipys(counts: list[int]) -> None:
    """Chi-square over equal weights, k - 1 degrees of freedom; an empty arm of weight 0 changes nothing."""
    keys = [str(place) for place in range(len(counts))]
    weights = {**dict.fromkeys(keys, 3.0), "off": 0.0}
    found = sample_ratio_fixed({**dict(zip(keys, counts, strict=True)), "off": 0}, weights)
    expected = chisquare(counts)
    assert isinstance(found, FixedRatio)
    assert found.freedom == len(counts) - 1
    assert found.chi_square == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    if expected.pvalue > 1e-290:
        assert math.exp(found.log_p) == pytest.approx(expected.pvalue, rel=1e-6)
    assert math.isfinite(found.log_p)


@pytest.mark.parametrize(
    ("observed", "weights", "word"),
    [
        ({}, HALF, "expected"),
        ({"old": 9, "new": 0}, HALF, "expected"),
        ({"old": 100}, {"old": 1.0, "new": 0.0}, "fewer than two"),
        ({"old": 100}, {}, "fewer than two"),
        ({"old": 10**9}, {"old": 1.0, "new": 1e-12}, "expected"),
    ],
)
def test_no_split_to_test_has_a_reason(
    observed: dict[str, int], weights: dict[str, float], word: str
) -> None:
    """Too few units for the chi-square distribution, or a single variant with a weight."""
    found = sample_ratio_fixed(observed, weights)
    assert isinstance(found, NotEnough)
    assert word in found.reason


def test_a_split_no_float_can_judge_is_a_number() -> None:
    """All of a million units in one half: ln p is about minus half a million."""
    found = sample_ratio_fixed({"old": 10**6, "new": 0}, HALF)
    assert isinstance(found, FixedRatio)
    assert found.log_p == pytest.approx(-500_006, abs=3)
