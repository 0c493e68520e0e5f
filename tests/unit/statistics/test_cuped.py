"""CUPED: theta, adjusted arms, and what happens without a past."""

import math
import random
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.comparisons import Answer, Question, compare, compare_arms
from libs.statistics.cuped import Adjustment, adjusted_arm, adjusted_arms, adjustment
from libs.statistics.differences import Arm, Arms, NotEnough
from libs.statistics.pairs import exact_pairs
from libs.statistics.sums import MICRO, Sums, exact_sums

VALUES = st.floats(-1e12, 1e12, allow_nan=False)
PAIRS = st.lists(st.tuples(VALUES, VALUES), max_size=6).map(exact_pairs)
SMALL = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=9)
ASKED = Question(proportion=False, burn_in_units=2)


def loyal(units: int, effect: float, seed: int) -> Sums:
    """Return units whose spending is 0.9 of their past spending, plus noise, plus the effect."""
    chance = random.Random(seed)
    pasts = [chance.gauss(10.0, 3.0) for _ in range(units)]
    return exact_pairs((0.9 * x + chance.gauss(effect, 1.0), x) for x in pasts)


@given(st.lists(SMALL, min_size=2, max_size=4))
def test_theta_is_the_slope_within_the_variants(variants: list[list[tuple[int, int]]]) -> None:
    """Each variant loses its own means first: the effect of a variant is no part of the slope."""
    xs = [np.array([x for _, x in each]) - np.mean([x for _, x in each]) for each in variants]
    ys = [np.array([y for y, _ in each]) - np.mean([y for y, _ in each]) for each in variants]
    sxx = sum(float(x @ x) for x in xs)
    sxy = sum(float(x @ y) for x, y in zip(xs, ys, strict=True))
    found = adjustment(exact_pairs((float(y), float(x)) for y, x in each) for each in variants)
    if sxx < 1e-9:
        assert found.reason
        assert found.theta == 0.0
    else:
        assert found.theta == pytest.approx(sxy / sxx, abs=1e-9)


@given(SMALL)
def test_an_adjusted_arm_is_that_of_the_adjusted_values(pairs: list[tuple[int, int]]) -> None:
    """Mean and variance of y - theta (x - x̄), unit by unit."""
    by = Adjustment(theta=0.75, covariate_total=3 * MICRO, units=2)
    found = adjusted_arm(exact_pairs((float(y), float(x)) for y, x in pairs), by)
    values = [y - 0.75 * (x - 1.5) for y, x in pairs]
    assert isinstance(found, Arm)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.variance == pytest.approx(np.var(values, ddof=1))


def test_it_finds_earlier_what_the_past_hides() -> None:
    """A loss of 0.25 is lost in a spread of 2.9; without what the past explains (88 %) it is found."""
    treatment, control = loyal(1_500, -0.25, 1), loyal(1_500, 0.0, 2)
    by = adjustment([treatment, control])
    assert by.theta == pytest.approx(0.9, abs=0.03)
    assert by.variance_reduction == pytest.approx(0.88, abs=0.02)
    plain = compare(treatment, control, ASKED)
    better = compare_arms(adjusted_arms(treatment, control, by), ASKED)
    assert isinstance(plain, Answer)
    assert isinstance(better, Answer)
    assert not plain.harmful
    assert better.harmful


@pytest.mark.parametrize("pasts", [(0.0, 0.0), (7.0, 7.0)])
def test_units_without_a_past_change_nothing(pasts: tuple[float, float]) -> None:
    """No past, or the same for all: the plain answer to the last digit, and the reason is noted."""
    one = exact_pairs([(3.0, pasts[0]), (5.0, pasts[1])] * 50)
    zero = exact_pairs([(1.0, pasts[0]), (4.0, pasts[1])] * 70)
    by = adjustment([one, zero])
    assert "before its exposure" in by.reason
    assert by.variance_reduction == 0.0
    assert compare_arms(adjusted_arms(one, zero, by), ASKED) == compare(one, zero, ASKED)


def test_fifty_variants_in_any_order_give_the_same_digits() -> None:
    """theta and x̄ do not depend on the order of the variants."""
    variants = [loyal(20 + seed, 0.1 * seed, seed) for seed in range(50)]
    expected = adjustment(variants)
    assert expected == adjustment(reversed(variants))
    assert all(adjustment(each) == adjustment(variants[:4]) for each in permutations(variants[:4]))


def test_a_past_that_explains_everything_leaves_no_evidence() -> None:
    """y = x: nothing is left to judge by, which is a reason and not a division by zero."""
    both = [exact_pairs([(x, x) for x in (1.0, 2.0, 3.0)]), exact_pairs([(x, x) for x in (2.0, 5.0)])]
    by = adjustment(both)
    assert by.theta == pytest.approx(1.0)
    assert by.variance_reduction == pytest.approx(1.0)
    found = adjusted_arms(both[0], both[1], by)
    assert isinstance(found, NotEnough)
    assert "same value" in found.reason


@pytest.mark.parametrize("few", [Sums(), exact_sums([1.0])])
def test_too_few_units_say_so_on_either_side(few: Sums) -> None:
    """No units or one: a reason."""
    fine = loyal(10, 0.0, 1)
    by = adjustment([few, fine])
    for found in (adjusted_arms(few, fine, by), adjusted_arms(fine, few, by)):
        assert isinstance(found, NotEnough)
        assert "two units" in found.reason


def test_no_variants_are_no_adjustment() -> None:
    """Nothing at all is adjusted by nothing."""
    assert adjustment([]).theta == 0.0
    assert adjustment([Sums(), Sums()]).reason


@given(PAIRS, PAIRS)
def test_never_nan_never_infinite(treatment: Sums, control: Sums) -> None:
    """Whatever the pairs, the adjustment and an answer are finite, or there is a reason."""
    by = adjustment([treatment, control])
    assert all(math.isfinite(x) for x in (by.theta, by.mean_error, by.variance_reduction))
    assert 0.0 <= by.variance_reduction <= 1.0
    both = adjusted_arms(treatment, control, by)
    found = compare_arms(both, ASKED)
    if isinstance(both, Arms) and isinstance(found, Answer):
        assert all(math.isfinite(x) for x in (found.estimate, found.lower, found.upper, found.log_p))
