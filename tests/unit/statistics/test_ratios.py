"""Ratio metrics."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.comparisons import Answer, Question, compare, compare_arms
from libs.statistics.differences import Arm, Arms, NotEnough, relative_lift
from libs.statistics.pairs import exact_pairs, scatter_x, scatter_xy, scatter_y
from libs.statistics.ratios import ratio_arm, ratio_arms
from libs.statistics.sums import MICRO, Sums, exact_sums

VALUES = st.floats(-1e12, 1e12, allow_nan=False)
PAIRS = st.lists(st.tuples(VALUES, VALUES), max_size=6).map(exact_pairs)
ASKED = Question(proportion=False)


def clicks(units: int, rate: float, seed: int) -> Sums:
    """Return clicks over views of units that view 1 to 9 pages, some clicking more than others."""
    chance = random.Random(seed)
    pairs = []
    for _ in range(units):
        views, own = chance.randint(1, 9), rate * chance.uniform(0, 2)
        pairs.append((float(sum(chance.random() < own for _ in range(views))), float(views)))
    return exact_pairs(pairs)


def arm(found: Arm | NotEnough) -> Arm:
    """Return the arm, which there must be."""
    assert isinstance(found, Arm)
    return found


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=12))
def test_scatters_are_numpys_covariances(pairs: list[tuple[int, int]]) -> None:
    """n (n - 1) times the unbiased covariance matrix, in micro-units squared."""
    sums = exact_pairs((float(y), float(x)) for y, x in pairs)
    n = len(pairs)
    matrix = np.cov(np.array(pairs).T) * n * (n - 1) * MICRO**2
    assert scatter_y(sums) == pytest.approx(matrix[0, 0])
    assert scatter_xy(sums) == pytest.approx(matrix[0, 1])
    assert scatter_x(sums) == pytest.approx(matrix[1, 1])


def test_the_variance_is_that_of_the_linearised_unit() -> None:
    """Var(y - R x) / x̄², unit by unit."""
    pairs = [(1.0, 2.0), (0.0, 3.0), (4.0, 5.0), (2.0, 2.0)]
    found = arm(ratio_arm(exact_pairs(pairs)))
    y, x = np.array(pairs).T
    ratio = y.sum() / x.sum()
    assert found.mean == pytest.approx(ratio)
    assert found.variance == pytest.approx(np.var(y - ratio * x, ddof=1) / x.mean() ** 2)


def test_denominators_of_one_make_it_a_mean() -> None:
    """With x = 1 for every unit the evidence is that on means, to the last digit."""
    one, zero = [3.0, 0.0, 5.0, 7.0] * 40, [1.0, 0.0, 2.0, 2.0] * 60
    ratios = ratio_arms(exact_pairs((y, 1.0) for y in one), exact_pairs((y, 1.0) for y in zero))
    assert compare_arms(ratios, ASKED) == compare(exact_sums(one), exact_sums(zero), ASKED)


def test_the_sequence_takes_ratios() -> None:
    """A third fewer clicks per view is found harmful and worse than the margin; the same rate is not."""
    control = clicks(4_000, 0.3, 1)
    worse = compare_arms(ratio_arms(clicks(4_000, 0.2, 2), control), ASKED)
    assert isinstance(worse, Answer)
    assert worse.harmful
    assert worse.worse_than_margin
    assert worse.relative == pytest.approx(-1 / 3, abs=0.05)
    same = compare_arms(ratio_arms(clicks(4_000, 0.3, 3), control), ASKED)
    assert isinstance(same, Answer)
    assert not same.harmful


def test_the_interval_covers_and_views_would_not() -> None:
    """95 % intervals of the difference cover 0 in about 95 of 100 A/A draws; with views for units (binomial
    variance over views) they would be too narrow, as units differ."""
    covered = naive = 0
    for seed in range(300):
        both = ratio_arms(clicks(200, 0.3, 2 * seed), clicks(200, 0.3, 2 * seed + 1))
        assert isinstance(both, Arms)
        covered += abs(both.estimate) <= 1.96 * math.sqrt(both.variance)
        naive += abs(both.estimate) <= 1.96 * math.sqrt(2 * 0.3 * 0.7 / (200 * 5))
    assert 275 <= covered <= 297
    assert naive < covered


@pytest.mark.parametrize(
    ("sums", "word"),
    [
        (Sums(), "two units"),
        (exact_pairs([(1.0, 1.0)]), "two units"),
        (exact_pairs([(1.0, 0.0), (2.0, 0.0)]), "sum to 0"),
        (exact_pairs([(1.0, 1.0)] + [(0.0, 0.0)] * 99), "standard errors of 0"),
    ],
)
def test_a_ratio_that_does_not_exist_says_why(sums: Sums, word: str) -> None:
    """Too few units, no denominators, or hardly any: a reason, on either side."""
    fine = exact_pairs([(1.0, 2.0), (0.0, 3.0), (4.0, 5.0)])
    for found in (ratio_arm(sums), ratio_arms(sums, fine), ratio_arms(fine, sums)):
        assert isinstance(found, NotEnough)
        assert word in found.reason


def test_one_ratio_for_all_is_no_evidence() -> None:
    """Where every unit has the same ratio there is no variance."""
    same = exact_pairs([(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)])
    found = ratio_arms(same, same)
    assert isinstance(found, NotEnough)
    assert "same ratio" in found.reason


@given(PAIRS, PAIRS)
def test_never_nan_never_infinite(treatment: Sums, control: Sums) -> None:
    """Whatever the pairs, an answer is finite or says why there is none."""
    both = ratio_arms(treatment, control)
    found = compare_arms(both, Question(proportion=False, burn_in_units=2))
    if isinstance(both, Arms) and isinstance(found, Answer):
        lift = relative_lift(both)
        numbers = [found.estimate, found.lower, found.upper, found.floor, found.ceiling, found.log_p]
        numbers += [] if isinstance(lift, NotEnough) else [lift.estimate, lift.variance]
        assert all(math.isfinite(each) for each in numbers)
