"""GrowthBook's gbstats 0.8 on the same sums, from frozen answers (`tests/oracles/gbstats_cases.py`).

Where we agree: differences, ratios and lifts with their variances, Welch's degrees of freedom of a
difference, the confidence sequence and its p-value. Where not, and who is right:

* degrees of freedom of a relative lift: gbstats takes those of the difference; ours weigh the two parts of
  the delta method's variance, as tea-tasting does. Satterthwaite's formula asks for the parts of the variance
  that is used: ours. Of 12 and 15 units the intervals are up to 6.5 % apart, of 300 and more 0.03 %.
* proportions: gbstats asks Welch's t with p(1 - p); ours is the classical z-test, pooled for the p-value.
  For the interval they take the same as for the test, we take Newcombe's, which holds at small counts too.
* CUPED: gbstats takes one slope over both variants together. An effect on y then leaks into theta; ours is
  the slope within the variants. Ours is right; with equal x̄ the two tend to each other.
* CUPED's lift: gbstats divides the adjusted difference by the unadjusted control mean and takes its variance
  as if it were the adjusted one. Ours divides by what was adjusted.
* one-sided "lesser": the upper end has the wrong sign (estimate - width), so it lies below the estimate.
  Ours adds it.
* p-values: 2 (1 - cdf) is 0 from z = 8.3 on; ours are logarithms.
* the sequence itself: ours, asked through `compare`, has variance floors, so it is never the narrower one.
"""

import json
import math
from pathlib import Path
from typing import TypedDict

import pytest

from libs.statistics.comparisons import Answer, Question, compare
from libs.statistics.cuped import Adjustment, adjusted_arm, adjustment
from libs.statistics.differences import Arms, Lift, NotEnough, relative_lift
from libs.statistics.fixed_horizon import Fixed, mean_arms, two_proportions, welch, welch_lift
from libs.statistics.ratios import ratio_arms
from libs.statistics.sequences import Tuning, log_p_value, shown_p_value, two_sided_radius
from libs.statistics.sums import MICRO, Sums

ORACLES = Path(__file__).parents[2] / "oracles"


class Result(TypedDict):
    """An answer; an end is None where it is infinite."""

    estimate: float
    ends: tuple[float | None, float | None]
    p: float


class Case(TypedDict, total=False):
    """Inputs of two variants and the answers by test."""

    kind: str
    name: str
    treatment: list[int]
    control: list[int]
    theta: float
    answers: dict[str, Result]


CASES: list[Case] = json.loads((ORACLES / "gbstats.json").read_text())["cases"]
ALPHAS = (0.05, 0.001)


def cases(*kinds: str) -> pytest.MarkDecorator:
    """Return the cases of these kinds as parameters."""
    chosen = [each for each in CASES if each["kind"] in kinds]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=lambda each: f"{each['kind']} {each['name']}")


def sums_of(row: list[int]) -> Sums:
    """Return the sums of a row of the table: two numbers are units and conversions."""
    if len(row) == 2:
        units, converted = row
        return Sums(units, converted, converted * MICRO, converted * MICRO**2)
    units, y, yy, x, xx, xy = row
    return Sums(units, units, y * MICRO, yy * MICRO**2, x * MICRO, xx * MICRO**2, xy * MICRO**2)


def arms_of(case: Case) -> Arms:
    """Return the two arms of a case with their own variances; CUPED's with the theta of gbstats."""
    treatment, control = sums_of(case["treatment"]), sums_of(case["control"])
    both: Arms | NotEnough
    if case["kind"] == "ratio":
        both = ratio_arms(treatment, control, floored=False)
    elif case["kind"] == "cuped":
        one, zero = (adjusted_arm(each, Adjustment(case["theta"])) for each in (treatment, control))
        assert not isinstance(one, NotEnough)
        assert not isinstance(zero, NotEnough)
        both = Arms(one, zero)
    else:
        both = mean_arms(treatment, control)
    assert isinstance(both, Arms)
    return both


def fixed(found: Fixed | NotEnough) -> Fixed:
    """Return the result, which there must be."""
    assert isinstance(found, Fixed)
    return found


def same(found: Fixed, theirs: Result) -> None:
    """Assert that interval and p-value agree; where theirs is 0 or has lost its digits ours is tiny."""
    assert found.estimate == pytest.approx(theirs["estimate"], rel=1e-9)
    assert (found.lower, found.upper) == pytest.approx(theirs["ends"], rel=1e-8)
    if theirs["p"] > 1e-9:
        assert math.exp(found.log_p) == pytest.approx(theirs["p"], rel=1e-6)
    else:
        assert found.log_p < math.log(2e-9)


@cases("mean", "ratio", "cuped")
@pytest.mark.parametrize("alpha", ALPHAS)
def test_differences_agree(case: Case, alpha: float) -> None:
    """Estimate, interval, p-value and degrees of freedom to nine digits; CUPED given the same theta."""
    same(fixed(welch(arms_of(case), alpha)), case["answers"][f"two-sided absolute {alpha}"])


@cases("mean", "ratio")
@pytest.mark.parametrize("alpha", ALPHAS)
def test_lifts_agree_but_for_the_degrees_of_freedom(case: Case, alpha: float) -> None:
    """The same estimate and, but for t's critical value, the same width: 6.5 % apart at the most with 12 and
    15 units, 0.03 % with 300 and more."""
    found, theirs = fixed(welch_lift(arms_of(case), alpha)), case["answers"][f"two-sided relative {alpha}"]
    lower, upper = theirs["ends"]
    assert lower is not None
    assert upper is not None
    assert found.estimate == pytest.approx(theirs["estimate"], rel=1e-9)
    apart = 0.065 if case["name"] == "small" else 3e-4
    assert found.upper - found.lower == pytest.approx(upper - lower, rel=apart)
    assert math.exp(found.log_p) == pytest.approx(theirs["p"], rel=0.1 if case["name"] == "small" else 2e-3)


@cases("proportion")
def test_proportions_agree_up_to_newcombes_interval(case: Case) -> None:
    """The width within 2 %: theirs is the unpooled one with t, which covers too little with few conversions.
    Their p-value is that of the interval's variance; our pooled one is further from it the more uneven the
    split is (0.21 against 0.16 at 500 and 9,500 units)."""
    found = fixed(two_proportions(sums_of(case["treatment"]), sums_of(case["control"])))
    theirs = case["answers"]["two-sided absolute 0.05"]
    lower, upper = theirs["ends"]
    assert lower is not None
    assert upper is not None
    assert found.upper - found.lower == pytest.approx(upper - lower, rel=2e-2)
    assert math.exp(found.log_p) == pytest.approx(theirs["p"], abs=0.06)


@cases("mean", "ratio", "cuped")
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("tuned", [5_000, 500])
def test_the_sequence_agrees(case: Case, alpha: float, tuned: int) -> None:
    """Interval and always-valid p-value of the difference, to nine digits."""
    both, tuning = arms_of(case), Tuning(alpha, tuned)
    theirs = case["answers"][f"sequential absolute {alpha} {tuned}"]
    radius = two_sided_radius(both.variance, both.units, tuning)
    ours = (both.estimate - radius, both.estimate + radius)
    assert ours == pytest.approx(theirs["ends"], rel=1e-8, abs=1e-9)
    log_p = log_p_value(both.estimate, both.variance, both.units, tuning)
    if theirs["p"] > 0:
        assert shown_p_value(log_p) == pytest.approx(theirs["p"], rel=1e-6)
    else:
        assert log_p < -700


@cases("mean", "ratio")
@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_sequence_of_a_lift_agrees(case: Case, alpha: float) -> None:
    """By the delta method, the control's variance included."""
    both = arms_of(case)
    lift = relative_lift(both)
    assert isinstance(lift, Lift)
    radius = two_sided_radius(lift.variance, both.units, Tuning(alpha, 5_000))
    theirs = case["answers"][f"sequential relative {alpha} 5000"]
    assert (lift.estimate - radius, lift.estimate + radius) == pytest.approx(theirs["ends"], rel=1e-8)


@cases("mean")
def test_our_sequence_with_its_floors_is_never_the_narrower_one(case: Case) -> None:
    """Through `compare` a variance is at least that of both arms together."""
    question = Question(proportion=False, burn_in_units=2)
    found = compare(sums_of(case["treatment"]), sums_of(case["control"]), question)
    assert isinstance(found, Answer)
    lower, upper = case["answers"]["sequential absolute 0.05 5000"]["ends"]
    assert lower is not None
    assert upper is not None
    assert found.lower <= lower + 1e-12
    assert found.upper >= upper - 1e-12


@cases("mean", "ratio")
def test_their_lesser_interval_has_the_wrong_sign(case: Case) -> None:
    """Its upper end lies below the estimate; mirrored at the estimate it is ours at twice the alpha."""
    theirs = case["answers"]["lesser absolute 0.05"]
    end = theirs["ends"][1]
    assert end is not None
    assert end < theirs["estimate"]
    ours = fixed(welch(arms_of(case), 0.10))
    assert ours.upper == pytest.approx(2 * theirs["estimate"] - end, rel=1e-8)


@cases("cuped")
def test_their_theta_keeps_the_means_of_the_variants(case: Case) -> None:
    """Theirs is the slope over both variants together; ours, within them, differs wherever x̄ and ȳ do."""
    variants = [sums_of(case["treatment"]), sums_of(case["control"])]
    together = adjustment([variants[0] + variants[1]])
    assert together.theta == pytest.approx(case["theta"], rel=1e-9)
    assert adjustment(variants).theta != pytest.approx(case["theta"], rel=1e-4)
