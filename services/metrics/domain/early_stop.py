"""Early stop: a group-sequential boundary of the first goal is crossed."""

import math

from schemas.experiments import Direction, ExperimentState, VerdictKind
from schemas.policies import EarlyStop
from services.metrics.domain.approval import first_goal
from services.metrics.domain.evidence import Compared
from services.metrics.domain.methods.base import Shown
from services.metrics.domain.situation import Advice, Situation


def stop_early(at: Situation) -> Advice | None:
    """Return the promotion or the stop that the policy asks for; None where no boundary is crossed.

    A variant that is better ends the experiment, worse ones only when all of them are. With a correction the
    corrected p-value must be at most alpha as well. With harm on a guardrail a variant is not promoted.
    """
    policy = at.experiment.policy
    if policy.early_stop is EarlyStop.NEVER or at.experiment.state is not ExperimentState.RUNNING:
        return None
    candidates = first_goal(at)
    crossed = [each for each in candidates if _crossed(at, each)]
    better = [each for each in crossed if _goodness(each) > 0.0]
    if not better and (not crossed or len(crossed) < len(candidates)):
        return None
    best = max(better or crossed, key=_goodness)
    promotes = policy.early_stop is EarlyStop.PROMOTE and bool(better) and not _harmed(at, best.variant)
    kind = VerdictKind.PROMOTE if promotes else VerdictKind.STOP
    return Advice(kind, best.variant, _reason(best), at.evidence([best]))


def _crossed(at: Situation, each: Compared) -> bool:
    if not isinstance(each.shown, Shown) or each.shown.look is None or not each.shown.look.crossed:
        return False
    return at.corrected.log_p.get(each.key, -math.inf) <= math.log(at.experiment.policy.alpha)


def _harmed(at: Situation, variant: str) -> bool:
    return any(each.variant == variant and each.is_guardrail and each.harmful for each in at.compared)


def _goodness(each: Compared) -> float:
    assert isinstance(each.shown, Shown), "the caller kept those that crossed"
    return each.shown.estimate if each.metric.direction is Direction.INCREASE else -each.shown.estimate


def _reason(each: Compared) -> str:
    assert isinstance(each.shown, Shown), "it crossed"
    shown, way = each.shown, "better" if _goodness(each) > 0.0 else "worse"
    return (
        f"{each.metric.name} of {each.variant} is {way} than {each.control}: difference {shown.estimate:.4g}"
        f", repeated interval {shown.lower:.4g} to {shown.upper:.4g}; {shown.note}"
    )[:2_000]
