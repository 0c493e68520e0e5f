"""The sample-ratio test that may be looked at after every unit."""

import math
import random

import pytest

from libs.statistics.sample_ratio import expected_shares, largest_deviation, log_bayes_factor

HALVES = {"a": 0.5, "b": 0.5}


def test_one_unit_says_nothing() -> None:
    """The first unit has the same probability either way: the factor is 1."""
    assert log_bayes_factor({"a": 1}, HALVES) == pytest.approx(0.0)


def test_two_shares_are_the_beta_binomial() -> None:
    """With a uniform prior the marginal of 7 and 3 is 1 / (11 * C(10, 3))."""
    expected = math.log(1 / (11 * math.comb(10, 3))) - 10 * math.log(0.5)
    assert log_bayes_factor({"a": 7, "b": 3}, HALVES) == pytest.approx(expected)


def test_a_split_that_is_off_is_found_and_a_good_one_is_not() -> None:
    """52 to 48 of 100,000 units is far beyond 1 in 1,000; an even one stays below."""
    assert log_bayes_factor({"a": 52_000, "b": 48_000}, HALVES) > math.log(1_000)
    assert log_bayes_factor({"a": 50_050, "b": 49_950}, HALVES) < 0


def test_looking_after_every_unit_rarely_cries_wolf() -> None:
    """Among 300 fair splits, looked at 2,000 times each, at most 5 % ever pass 1 in 20."""
    chance = random.Random(7)
    alarms = 0
    for _ in range(300):
        counts = {"a": 0, "b": 0}
        for unit in range(2_000):
            counts["b" if chance.random() < 0.5 else "a"] += 1
            if unit % 10 == 0 and log_bayes_factor(counts, HALVES) >= math.log(20):
                alarms += 1
                break
    assert alarms <= 15


def test_shares_follow_the_weights_and_leave_empty_arms_out() -> None:
    """An arm of weight 0 has no share; no weights at all, no shares."""
    assert expected_shares({"a": 3.0, "b": 1.0, "c": 0.0}) == {"a": 0.75, "b": 0.25}
    assert expected_shares({"a": 0.0}) == {}


def test_nothing_to_test_is_no_evidence() -> None:
    """A single share, or no units, says nothing."""
    assert log_bayes_factor({"a": 100}, {"a": 1.0}) == 0.0
    assert log_bayes_factor({}, HALVES) == 0.0
    assert largest_deviation({}, HALVES) == 0.0
    assert largest_deviation({"a": 6, "b": 4}, HALVES) == pytest.approx(0.1)
