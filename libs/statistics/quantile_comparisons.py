"""A variant's quantile against control's, asked the same question as means: always valid, harm or none.

Both directions rest on bounds of the two quantiles themselves, each exact at every look (`quantiles`): two
bounds at alpha / 2 make a one-sided statement at alpha, four at alpha / 4 the two-sided one. The bounds
reach to the far ends of the sketch's bins, so what is proved is proved in spite of the sketch.

For one planned look the p-value is the smallest alpha at which the intervals of `quantile_difference` lie
apart: how many values lie at or below a split is binomial, and each of four such statements errs with a
chance of at most alpha / 4, whichever split is taken. It is never above what is promised, and far below it
where the two quantiles are equal.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from libs.statistics.binomial_mixtures import Side
from libs.statistics.comparisons import Answer, Question, too_few_units, worse_than_margin
from libs.statistics.differences import NotEnough
from libs.statistics.quantile_sketch import Ranks
from libs.statistics.quantiles import Asked, ranked_interval
from libs.statistics.sequences import Tuning
from libs.statistics.tails import log_beta_tail


@dataclass(frozen=True, slots=True)
class _Sides:
    """Estimates and bounds of the treatment's (1) and control's (0) quantile."""

    estimate1: float
    low1: float
    high1: float
    estimate0: float
    low0: float
    high0: float


def compare_quantiles(
    treatment: Mapping[int, int], control: Mapping[int, int], share: float, question: Question
) -> Answer | NotEnough:
    """Return the evidence on the quantile of this share, or why there is none.

    `question.tuning.tuned_units` are units in all, as for means; `question.proportion` is not asked. Raises
    ValueError for a share outside (0, 1).
    """
    alpha, tuned_units = question.tuning.alpha, max(1, question.tuning.tuned_units // 2)
    asked = Asked(share, Tuning(alpha, tuned_units))
    one, zero = Ranks(treatment), Ranks(control)
    few = too_few_units(one.total, zero.total, question)
    if few:
        return few
    wide, narrow = _sides(one, zero, asked, alpha / 2.0), _sides(one, zero, asked, alpha)
    if isinstance(wide, NotEnough):
        return wide
    if isinstance(narrow, NotEnough):
        return narrow
    difference = wide.estimate1 - wide.estimate0
    relative = difference / abs(wide.estimate0) if wide.estimate0 else None
    floor, ceiling = narrow.low1 - narrow.high0, narrow.high1 - narrow.low0
    return Answer(
        estimate=difference,
        lower=wide.low1 - wide.high0,
        upper=wide.high1 - wide.low0,
        floor=floor,
        ceiling=ceiling,
        relative=relative,
        log_p=_log_p_value(one, zero, asked.mixture.log_e),
        harmful=ceiling < 0.0 if question.better_when_higher else floor > 0.0,
        worse_than_margin=worse_than_margin(difference, relative, question),
        harm_within_margin=_within_margin(narrow, question),
    )


def _sides(one: Ranks, zero: Ranks, asked: Asked, alpha: float) -> _Sides | NotEnough:
    first, second = ranked_interval(one, asked, alpha), ranked_interval(zero, asked, alpha)
    if isinstance(first, NotEnough):
        return first
    if isinstance(second, NotEnough):
        return second
    return _Sides(first.estimate, first.lower, first.upper, second.estimate, second.lower, second.upper)


def _within_margin(at: _Sides, question: Question) -> bool:
    """Is the treatment proved to be on the good side of (1 -+ margin) times control, wherever control is?"""
    if at.estimate0 == 0.0:
        return False
    allowed = math.copysign(question.margin, at.estimate0)
    if question.better_when_higher:
        return at.low1 > max((1.0 - allowed) * at.low0, (1.0 - allowed) * at.high0)
    return at.high1 < min((1.0 + allowed) * at.low0, (1.0 + allowed) * at.high0)


def planned_log_p_value(treatment: Mapping[int, int], control: Mapping[int, int], share: float) -> float:
    """Return ln of the two-sided p-value of "equal quantiles" at one planned look; 0 without units.

    Raises ValueError for a share outside (0, 1).
    """
    one, zero, asked = Ranks(treatment), Ranks(control), Asked(share)
    if not one.total or not zero.total:
        return 0.0

    def evidence(hits: int, units: int, side: Side) -> float:
        return -_log_binomial_tail(hits, units, asked.quantile, side)

    return _log_p_value(one, zero, evidence)


def _log_binomial_tail(hits: int, units: int, share: float, side: Side) -> float:
    """ln of the chance of so many hits or more, or of so many or fewer."""
    if side is Side.MORE:
        return log_beta_tail(hits, units - hits + 1, share) if hits else 0.0
    return log_beta_tail(units - hits, hits + 1, 1.0 - share) if hits < units else 0.0


Evidence: TypeAlias = Callable[[int, int, Side], float]
"""-ln of a level that excludes, by so many hits among so many units, that a hit has the quantile's share."""


def _log_p_value(one: Ranks, zero: Ranks, evidence: Evidence) -> float:
    """ln of the level at which the two intervals (four bounds, a quarter each) come apart; at most 0."""
    found = max(_apart(one, zero, evidence), _apart(zero, one, evidence))
    return min(0.0, math.log(4.0) - found)


def _apart(lower: Ranks, higher: Ranks, evidence: Evidence) -> float:
    """The largest evidence with which some end of a bin lies above the one's quantile and below the other's.

    Along the ends the first evidence rises and the second falls: the best is where they cross.
    """
    ends = sorted({*lower.keys, *higher.keys})

    def above(at: int) -> float:
        return evidence(lower.up_to(ends[at]), lower.total, Side.MORE)

    def below(at: int) -> float:
        return evidence(higher.up_to(ends[at]), higher.total, Side.FEWER)

    first, last = 0, len(ends) - 1
    while first < last:
        middle = (first + last) // 2
        if above(middle) >= below(middle):
            last = middle
        else:
            first = middle + 1
    return max(min(above(at), below(at)) for at in (max(first - 1, 0), first))
