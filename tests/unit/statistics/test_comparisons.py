"""Differences, lifts and what is concluded from them."""

import math
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.statistics.comparisons import Answer, Question, compare
from libs.statistics.differences import Arms, Lift, NotEnough, arms, relative_lift
from libs.statistics.sums import MICRO, Sums, exact_sums


def rate(units: int, converted: int) -> Sums:
    """Return the sums of a proportion."""
    return Sums(units, converted, converted * MICRO, converted * MICRO * MICRO)


def answer(treatment: Sums, control: Sums, question: Question) -> Answer:
    """Return the answer, which there must be."""
    found = compare(treatment, control, question)
    assert isinstance(found, Answer)
    return found


PROPORTION = Question(proportion=True)
ERRORS = Question(proportion=True, better_when_higher=False)
MEAN = Question(proportion=False)


def test_difference_and_lift_are_the_textbooks() -> None:
    """Two means far apart in spread: the difference; each arm's own variance where it is the larger one, that
    of both together (5) where it is not; and the lift with the control's variance in it."""
    both = arms(exact_sums([0.0, 5.0, 7.0]), exact_sums([1.0, 2.0, 3.0]), proportion=False)
    assert isinstance(both, Arms)
    own, pooled = 13.0, 34 / 5
    assert both.estimate == 2.0
    assert both.variance == pytest.approx(own / 3 + pooled / 3)
    lift = relative_lift(both)
    assert isinstance(lift, Lift)
    assert lift.estimate == 1.0
    assert lift.variance == pytest.approx(own / (3 * 4) + 16 * pooled / (3 * 16))


@pytest.mark.parametrize("question", [PROPORTION, MEAN])
def test_an_unlucky_small_arm_does_not_vouch_for_itself(question: Question) -> None:
    """Two of 400 next to 36 of 3,600: the small arm's interval is as wide as a hundredth of both allows, not
    as narrow as its own half percent."""
    both = arms(rate(400, 2), rate(3_600, 36), proportion=question.proportion)
    assert isinstance(both, Arms)
    assert both.treatment.variance >= 0.0094
    assert both.control.variance >= both.treatment.variance
    assert not answer(rate(400, 0), rate(3_600, 36), question).harmful


def test_clear_harm_is_harm_and_clear_gain_is_not() -> None:
    """At 10,000 units 20 % against 30 % is a breach; the other way round it is within the margin."""
    harm = answer(rate(10_000, 2_000), rate(10_000, 3_000), PROPORTION)
    assert harm.harmful
    assert harm.worse_than_margin
    assert not harm.harm_within_margin
    gain = answer(rate(10_000, 3_000), rate(10_000, 2_000), PROPORTION)
    assert not gain.harmful
    assert not gain.worse_than_margin
    assert gain.harm_within_margin


def test_direction_turns_harm_round() -> None:
    """More errors are harm; fewer are not."""
    assert answer(rate(10_000, 3_000), rate(10_000, 2_000), ERRORS).harmful
    fewer = answer(rate(10_000, 2_000), rate(10_000, 3_000), ERRORS)
    assert not fewer.harmful
    assert fewer.harm_within_margin


def test_real_harm_below_the_margin_is_no_breach() -> None:
    """3 % worse for certain is evidence of harm, and harm beyond 10 % is excluded."""
    found = answer(rate(1_000_000, 485_000), rate(1_000_000, 500_000), PROPORTION)
    assert found.harmful
    assert not found.worse_than_margin
    assert found.harm_within_margin


@pytest.mark.parametrize(("treatment", "control"), [(0, 0), (0, 500), (500, 500), (500, 0)])
def test_all_or_none_converted_has_an_interval_of_some_width(treatment: int, control: int) -> None:
    """No degenerate interval: an arm without variance is one of which we have not seen enough."""
    found = answer(rate(500, treatment), rate(500, control), PROPORTION)
    assert found.lower < found.estimate < found.upper
    assert found.floor < found.estimate < found.ceiling


def test_a_variant_that_never_converts_is_found_harmful() -> None:
    """No conversion at all in the treatment does not hide behind its missing variance."""
    assert answer(rate(500, 0), rate(500, 400), PROPORTION).harmful
    dead = answer(exact_sums([0.0] * 500), exact_sums([0.0, 10.0] * 250), MEAN)
    assert dead.harmful
    assert dead.worse_than_margin


def test_the_first_errors_next_to_a_flawless_control_count_once_they_are_proved() -> None:
    """Without a relative estimate proved harm is worse than any margin; unproved harm is not harm."""
    assert answer(rate(2_000, 200), rate(2_000, 0), ERRORS).harmful
    proved = answer(rate(2_000, 200), rate(2_000, 0), ERRORS)
    assert proved.relative is None
    assert proved.worse_than_margin
    assert not answer(rate(200, 1), rate(200, 0), ERRORS).harmful


def test_a_negative_control_is_measured_by_its_size() -> None:
    """A loss of 12 next to a loss of 10 is 20 % worse, not better."""
    control = exact_sums([-9.0, -11.0] * 5_000)
    worse = answer(exact_sums([-11.0, -13.0] * 5_000), control, MEAN)
    assert worse.relative == pytest.approx(-0.2)
    assert worse.harmful
    assert worse.worse_than_margin
    better = answer(exact_sums([-7.0, -9.0] * 5_000), control, MEAN)
    assert better.harm_within_margin


@pytest.mark.parametrize(
    ("treatment", "control", "word"),
    [
        (Sums(), Sums(), "0 units"),
        (rate(99, 5), rate(10_000, 5), "99 units"),
        (exact_sums([2.0] * 100), exact_sums([2.0] * 100), "same value"),
    ],
)
def test_not_enough_is_a_value_with_its_reason(treatment: Sums, control: Sums, word: str) -> None:
    """Too few units, or no variance anywhere: neither a pass nor a fail."""
    found = compare(treatment, control, MEAN)
    assert isinstance(found, NotEnough)
    assert word in found.reason


VALUES = st.floats(-1e12, 1e12, allow_nan=False)


@given(
    st.lists(VALUES, min_size=2, max_size=6),
    st.lists(VALUES, min_size=2, max_size=6),
    st.booleans(),
    st.floats(1e-9, 1),
)
def test_never_nan_never_infinite(one: list[float], two: list[float], higher: bool, margin: float) -> None:
    """Whatever the values, every number of an answer is finite."""
    question = Question(proportion=False, better_when_higher=higher, margin=margin, burn_in_units=2)
    found = compare(exact_sums(one), exact_sums(two), question)
    if isinstance(found, Answer):
        assert all(math.isfinite(each) for each in astuple(found) if each is not None)
