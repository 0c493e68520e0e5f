"""Estimates after a bandit: unbiased where raw means are not, with intervals that cover."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.bandits import Bandit, Policy, allocate
from libs.statistics.differences import NotEnough
from libs.statistics.ipw import Period, Weighted, weighted_difference, weighted_mean
from libs.statistics.sums import MICRO, Sums, exact_sums


def rate(units: int, converted: int) -> Sums:
    """Return the sums of a proportion."""
    return Sums(units, converted, converted * MICRO, converted * MICRO * MICRO)


def test_one_period_of_halves_is_the_plain_difference() -> None:
    """With constant shares nothing is to be weighted."""
    period = Period({"a": 0.5, "b": 0.5}, {"a": rate(1_000, 120), "b": rate(1_000, 100)})
    found = weighted_difference([period], "a", "b", proportion=True)
    assert isinstance(found, Weighted)
    assert found.estimate == pytest.approx(0.02)
    assert found.units == 2_000
    assert found.variance == pytest.approx(0.12 * 0.88 / 1_000 + 0.10 * 0.90 / 1_000, rel=0.1)


def test_by_hand_over_two_periods() -> None:
    """m from the first, the correction by 1 / e in the second, both weighted by their units."""
    periods = [
        Period({"a": 0.5, "b": 0.5}, {"a": rate(50, 10), "b": rate(50, 5)}),
        Period({"a": 0.9, "b": 0.1}, {"a": rate(270, 81), "b": rate(30, 6)}),
    ]
    found = weighted_mean(periods, "b", proportion=True)
    assert isinstance(found, Weighted)
    second = 0.1 + (6 - 0.1 * 30) / 300 / 0.1
    assert found.estimate == pytest.approx(0.25 * 0.1 + 0.75 * second)


def test_shares_that_change_with_the_season_do_not_fool_it() -> None:
    """Everybody converts twice as much on the second day, when the treatment gets most units: no effect."""
    periods = [
        Period({"t": 0.1, "c": 0.9}, {"t": rate(1_000, 100), "c": rate(9_000, 900)}),
        Period({"t": 0.9, "c": 0.1}, {"t": rate(9_000, 1_800), "c": rate(1_000, 200)}),
    ]
    found = weighted_difference(periods, "t", "c", proportion=True)
    assert isinstance(found, Weighted)
    assert found.estimate == pytest.approx(0.0, abs=1e-12)
    raw = 1_900 / 10_000 - 1_100 / 10_000
    assert raw > 5 * math.sqrt(found.variance)


@pytest.mark.parametrize(("rates", "season"), [((0.10, 0.10), 0.0), ((0.10, 0.13), 0.05)])
def test_intervals_after_a_bandit_cover(rates: tuple[float, float], season: float) -> None:
    """Of 1,000 greedy bandits over ten periods, with and without a season, at least 93 % cover the
    difference, and their mean is within four standard errors of it: no bias."""
    chance = np.random.default_rng(17)
    bandit = Bandit(Policy.EPSILON_GREEDY, proportion=True, epsilon=0.2)
    covered, estimates = 0, []
    runs = 1_000
    for _ in range(runs):
        periods: list[Period] = []
        total = {"a": Sums(), "b": Sums()}
        for day in range(10):
            shares = allocate(total, bandit).shares
            units = chance.multinomial(300, list(shares.values())).tolist()
            drawn = {
                key: rate(n, int(chance.binomial(n, p + season * (day % 2))))
                for key, n, p in zip(shares, units, rates, strict=True)
            }
            periods.append(Period(shares, drawn))
            total = {key: total[key] + drawn[key] for key in total}
        found = weighted_difference(periods, "b", "a", proportion=True)
        assert isinstance(found, Weighted)
        estimates.append(found.estimate)
        covered += abs(found.estimate - (rates[1] - rates[0])) <= 1.96 * math.sqrt(found.variance)
    assert covered / runs >= 0.93
    error = float(np.std(estimates)) / math.sqrt(runs)
    assert abs(float(np.mean(estimates)) - (rates[1] - rates[0])) <= 4 * error


PERIODS = st.lists(
    st.builds(
        lambda share, a, b: Period({"a": share, "b": 1 - share}, {"a": exact_sums(a), "b": exact_sums(b)}),
        st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-300, 1e-6, 1.0])),
        st.lists(st.floats(-1e12, 1e12), max_size=4),
        st.lists(st.floats(-1e12, 1e12), max_size=4),
    ),
    max_size=6,
)


@given(PERIODS, st.booleans())
def test_always_finite_with_a_positive_variance(periods: list[Period], proportion: bool) -> None:
    """Whatever came in, and whatever the shares were: a number or a reason."""
    for found in (
        weighted_mean(periods, "a", proportion=proportion),
        weighted_difference(periods, "a", "b", proportion=proportion),
    ):
        if isinstance(found, Weighted):
            assert math.isfinite(found.estimate)
            assert math.isfinite(found.variance)
            assert found.variance > 0


def test_a_time_without_the_variant_says_nothing_of_it() -> None:
    """A period in which its share was 0 is left out, even if a unit leaked into it."""
    usual = Period({"a": 0.5, "b": 0.5}, {"a": rate(100, 10), "b": rate(100, 10)})
    without = Period({"a": 0.0, "b": 1.0}, {"a": rate(1, 1), "b": rate(500, 50)})
    assert weighted_mean([usual, without], "a", proportion=True) == weighted_mean(
        [usual], "a", proportion=True
    )


def test_not_enough_has_a_reason() -> None:
    """Nobody got it, or every unit has the same value."""
    empty = Period({"a": 0.5, "b": 0.5}, {"b": rate(10, 1)})
    found = weighted_difference([empty], "a", "b", proportion=True)
    assert isinstance(found, NotEnough)
    assert "0 units" in found.reason
    same = Period({"a": 0.5, "b": 0.5}, {"a": exact_sums([2.0] * 5), "b": exact_sums([2.0] * 5)})
    assert isinstance(weighted_mean([same], "a", proportion=False), NotEnough)
    assert isinstance(weighted_mean([], "a", proportion=True), NotEnough)
