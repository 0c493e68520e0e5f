"""A variant against control on one metric, always valid: interval, p-value, harm and its absence."""

import math
from dataclasses import dataclass, field

from libs.statistics.differences import Arms, NotEnough, arms, relative_lift
from libs.statistics.sequences import Tuning, log_p_value, one_sided_radius, two_sided_radius
from libs.statistics.sums import Sums

TWO_SIDED = "asymptotic confidence sequence, two-sided"
ONE_SIDED = "asymptotic confidence sequence, one-sided: each bound at alpha"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of two variants."""

    proportion: bool
    better_when_higher: bool = True
    margin: float = 0.10
    """How much worse, as a share of the control's mean, is too much."""
    tuning: Tuning = field(default_factory=Tuning)
    burn_in_units: int = 100
    """Units per variant below which there is no evidence; never below 2."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Difference (treatment minus control) with its always-valid evidence.

    `lower`, `upper`: the two-sided sequence. `floor`, `ceiling`: the one-sided ones, each at alpha.
    """

    estimate: float
    lower: float
    upper: float
    floor: float
    ceiling: float
    relative: float | None
    """Difference over the size of the control's mean; None where that is 0 or too near."""
    log_p: float
    """ln of the two-sided always-valid p-value at this moment."""
    harmful: bool
    """The one-sided sequence excludes 'no harm'."""
    worse_than_margin: bool
    """The relative estimate is worse than the margin."""
    harm_within_margin: bool
    """The one-sided sequence excludes harm beyond the margin."""


def compare(treatment: Sums, control: Sums, question: Question) -> Answer | NotEnough:
    """Return the evidence on means or proportions, or why there is none: too few units, or no variance."""
    few = too_few_units(treatment.units, control.units, question)
    return few or compare_arms(arms(treatment, control, proportion=question.proportion), question)


def compare_arms(both: Arms | NotEnough, question: Question) -> Answer | NotEnough:
    """Return the same evidence on any two arms: those of `ratios` and `cuped` as well as means.

    `question.proportion` is not asked here; the burn-in and everything else is. Each arm must have a
    positive variance (`with_floor`). A reason why there are no arms is handed on.
    """
    if isinstance(both, NotEnough):
        return both
    few = too_few_units(both.treatment.units, both.control.units, question)
    return few or _answer(both, question)


def too_few_units(treatment: int, control: int, question: Question) -> NotEnough | None:
    """Return why evidence has not started yet; None once it has."""
    fewest, start = min(treatment, control), max(2, question.burn_in_units)
    if fewest >= start:
        return None
    return NotEnough(f"{fewest} units in the smaller variant; evidence starts at {start}")


def _answer(both: Arms, question: Question) -> Answer | NotEnough:
    estimate, variance, units = both.estimate, both.variance, both.units
    if not (math.isfinite(estimate) and math.isfinite(variance) and variance > 0.0):
        return NotEnough("the values are too large or too small for a number")
    tuning = question.tuning
    wide = two_sided_radius(variance, units, tuning)
    narrow = one_sided_radius(variance, units, tuning)
    floor, ceiling = estimate - narrow, estimate + narrow
    lift = relative_lift(both)
    relative = None if isinstance(lift, NotEnough) else lift.estimate
    return Answer(
        estimate=estimate,
        lower=estimate - wide,
        upper=estimate + wide,
        floor=floor,
        ceiling=ceiling,
        relative=relative,
        log_p=log_p_value(estimate, variance, units, tuning),
        harmful=ceiling < 0.0 if question.better_when_higher else floor > 0.0,
        worse_than_margin=worse_than_margin(estimate, relative, question),
        harm_within_margin=_within_margin(both, question),
    )


def _towards_better(value: float, question: Question) -> float:
    return value if question.better_when_higher else -value


def worse_than_margin(estimate: float, relative: float | None, question: Question) -> bool:
    """Return whether the estimate is worse than the margin allows.

    Without a relative estimate any change for the worse is: next to a rate of 0 there is no small harm.
    """
    if relative is None:
        return _towards_better(estimate, question) < 0.0
    return _towards_better(relative, question) < -question.margin


def _within_margin(both: Arms, question: Question) -> bool:
    """Is m1 - m0 + margin |m0| (or its mirror image) proved to be positive? Needs a mean that is not 0."""
    if both.control.mean == 0.0:
        return False
    away_from_zero = 1.0 if both.control.mean > 0.0 else -1.0
    allowed = question.margin * away_from_zero
    factor = 1.0 - allowed if question.better_when_higher else 1.0 + allowed
    estimate, variance = both.contrast(factor)
    return _towards_better(estimate, question) > one_sided_radius(variance, both.units, question.tuning)
