"""Evidence that holds at any look: what rollback, ramp and approval rest on, whatever method is shown.

Means, counts, ratios, and proportions once their counts are large enough: the asymptotic confidence sequence.
Proportions at small counts (`proportions.normal_is_safe`): the exact test, as long as the weights are those
that the experiment began with. Quantiles: bounds of ranks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from libs.statistics.comparisons import (
    ONE_SIDED,
    TWO_SIDED,
    Answer,
    Question,
    compare_arms,
    too_few_units,
    worse_than_margin,
)
from libs.statistics.differences import Arms, NotEnough
from libs.statistics.lifts import VALUES_BURN_IN_UNITS, LiftInterval, always_valid_lift
from libs.statistics.proportions import (
    EXACT_INTERVAL,
    EXACT_TEST,
    Split,
    exact_test,
    normal_is_safe,
    rate_interval,
)
from libs.statistics.quantile_comparisons import compare_quantiles
from libs.statistics.quantiles import Asked, Look, quantile_interval
from libs.statistics.sequences import Tuning, one_sided_radius
from schemas.experiments import MetricKind
from services.metrics.domain.bounds import Bounds
from services.metrics.domain.matters import Matter

RANKS = Look.ANY.value


@dataclass(frozen=True, slots=True)
class Evidenced:
    """The answer, what it is called, and what else can be asked of it."""

    answer: Answer | NotEnough
    both: Arms | NotEnough
    shown_as: str
    """The method of the two-sided interval."""
    proved_by: str
    """The method of the one-sided bounds."""
    lift: Callable[[], LiftInterval | NotEnough]
    beyond_margin: Callable[[], bool]
    """Is harm within the margin excluded?"""


def evidence_on(matter: Matter) -> Evidenced:
    """Return the always-valid evidence."""
    if matter.is_quantile:
        return _of_quantiles(matter)
    if _counts_are_small(matter):
        return _of_small_counts(matter)
    both = matter.arms()
    question, adjusted = matter.question, ", CUPED" if matter.adjustment is not None else ""
    return Evidenced(
        compare_arms(both, question),
        both,
        TWO_SIDED + adjusted,
        ONE_SIDED + adjusted,
        lambda: _lift(matter, both),
        lambda: not isinstance(both, NotEnough) and _beyond_margin(both, question),
    )


def _lift(matter: Matter, both: Arms | NotEnough) -> LiftInterval | NotEnough:
    """Rates as they are need no longer burn-in; adjusted by CUPED they are values like any others."""
    if isinstance(both, NotEnough):
        return both
    plain_rates = matter.question.proportion and matter.adjustment is None
    burn_in = 0 if plain_rates else VALUES_BURN_IN_UNITS
    return always_valid_lift(both, matter.question.tuning, burn_in_units=burn_in)


def _counts_are_small(matter: Matter) -> bool:
    return (
        matter.metric.kind is MetricKind.PROPORTION
        and matter.share is not None
        and not normal_is_safe(matter.treatment, matter.control)
    )


def _beyond_margin(both: Arms, question: Question) -> bool:
    """Is m1 - m0 + margin |m0| (or its mirror image) proved to be negative? Needs a mean that is not 0."""
    if both.control.mean == 0.0:
        return False
    allowed = math.copysign(question.margin, both.control.mean)
    factor = 1.0 - allowed if question.better_when_higher else 1.0 + allowed
    estimate, variance = both.contrast(factor)
    worse = -estimate if question.better_when_higher else estimate
    return worse > one_sided_radius(variance, both.units, question.tuning)


def _of_small_counts(matter: Matter) -> Evidenced:
    """Rates of both at alpha / 2 each: bounds of the difference and of the lift that hold at alpha."""
    question, alpha = matter.question, matter.question.tuning.alpha
    one, zero = matter.treatment, matter.control
    few = too_few_units(one.units, zero.units, question)
    assert matter.share is not None, "the exact test is asked only where the split is known"
    test = few or exact_test(one, zero, Split(share=matter.share, alpha=alpha))
    if isinstance(test, NotEnough):
        return _nothing(test, EXACT_TEST)
    rates = Bounds(
        one.converted_units / one.units,
        *rate_interval(one.converted_units, one.units, alpha / 2.0),
        zero.converted_units / zero.units,
        *rate_interval(zero.converted_units, zero.units, alpha / 2.0),
    )
    harm = test.log_p_of_harm(better_when_higher=question.better_when_higher) <= math.log(alpha)
    answer = _answer(rates, question, test.log_p, harmful=harm)
    return Evidenced(
        answer,
        matter.arms(),
        f"{EXACT_TEST}; {EXACT_INTERVAL}",
        EXACT_TEST,
        lambda: rates.lift(EXACT_INTERVAL),
        lambda: rates.beyond_margin(question),
    )


def _answer(rates: Bounds, question: Question, log_p: float, *, harmful: bool) -> Answer:
    estimate = rates.estimate1 - rates.estimate0
    lower, upper = rates.low1 - rates.high0, rates.high1 - rates.low0
    relative = estimate / rates.estimate0 if rates.estimate0 else None
    return Answer(
        estimate=estimate,
        lower=lower,
        upper=upper,
        floor=lower,
        ceiling=upper,
        relative=relative,
        log_p=log_p,
        harmful=harmful,
        worse_than_margin=worse_than_margin(estimate, relative, question),
        harm_within_margin=rates.within_margin(question),
    )


def _of_quantiles(matter: Matter) -> Evidenced:
    share = matter.metric.quantile
    assert share is not None, "a quantile says which one"
    answer = compare_quantiles(*matter.sketches, share, matter.question)
    if isinstance(answer, NotEnough):
        return _nothing(answer, RANKS)
    bounds = _of_ranks(matter, share)
    if isinstance(bounds, NotEnough):
        return _nothing(bounds, RANKS)
    return Evidenced(
        answer,
        matter.arms(),
        RANKS,
        RANKS,
        lambda: bounds.lift(RANKS),
        lambda: bounds.beyond_margin(matter.question),
    )


def _of_ranks(matter: Matter, share: float) -> Bounds | NotEnough:
    tuning = matter.question.tuning
    asked = Asked(share, Tuning(tuning.alpha, max(1, tuning.tuned_units // 2)))
    one, zero = (quantile_interval(each, asked, tuning.alpha / 2.0) for each in matter.sketches)
    if isinstance(one, NotEnough):
        return one
    if isinstance(zero, NotEnough):
        return zero
    return Bounds(one.estimate, one.lower, one.upper, zero.estimate, zero.lower, zero.upper)


def _nothing(reason: NotEnough, method: str) -> Evidenced:
    return Evidenced(reason, reason, method, method, lambda: reason, lambda: False)
