"""Bayesian: the chance to beat control, and what choosing wrongly costs."""

from libs.statistics.bayes import CONTINUOUS_LOOKING, Belief, Prior, believe, believe_arms
from libs.statistics.differences import NotEnough
from libs.statistics.lifts import LiftInterval
from services.metrics.domain.always_valid import Evidenced
from services.metrics.domain.matters import Matter
from services.metrics.domain.methods.base import Shown, always_valid

METHOD = "Bayesian: flat prior, equal-tailed credible interval"

SMALLEST_ALPHA = 1e-9
"""Below it the quantiles of a posterior lie where the integrals leave off."""


def show(matter: Matter, found: Evidenced) -> Shown | NotEnough:
    """Return the belief after the data, with a sentence on looking again and again."""
    if matter.is_quantile:
        return always_valid(found, "a quantile has no belief here; this is the always-valid evidence")
    if not (matter.treatment.units and matter.control.units):
        return NotEnough("no units in a variant")
    if matter.policy.alpha < SMALLEST_ALPHA:
        return NotEnough(f"policy.alpha: credible intervals are worked out down to {SMALLEST_ALPHA:g}")
    belief = _belief(matter)
    if isinstance(belief, NotEnough):
        return belief
    lift = belief.lift
    return Shown(
        estimate=belief.difference.estimate,
        lower=belief.difference.lower,
        upper=belief.difference.upper,
        method=METHOD + (", CUPED" if matter.adjustment is not None else ""),
        lift=lift
        if isinstance(lift, NotEnough)
        else LiftInterval(lift.estimate, lift.lower, lift.upper, "posterior median and quantiles"),
        belief=belief,
        note=CONTINUOUS_LOOKING,
    )


def _belief(matter: Matter) -> Belief | NotEnough:
    asked = matter.question
    plain = matter.question.proportion and matter.adjustment is None
    prior = Prior(plain, asked.better_when_higher, asked.tuning.alpha)
    if plain:
        return believe(matter.treatment, matter.control, prior)
    return believe_arms(matter.arms(), prior)
