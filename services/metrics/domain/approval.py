"""Approval: promote a variant that is better by enough, for long enough, on enough units, without harm."""

import math

from libs.statistics.comparisons import Answer
from libs.statistics.differences import NotEnough
from schemas.experiments import Direction, ExperimentState, MetricRole, VerdictKind
from schemas.policies import Approval
from services.metrics.domain.corrections import adjusted
from services.metrics.domain.evidence import Compared
from services.metrics.domain.situation import Advice, Situation


def approve(at: Situation, guards: list[Compared]) -> Advice | str:
    """Return the promotion of the best variant that passes, or why none does, as a sentence.

    Better at any look is asked for: the corrected always-valid p-value at alpha, beyond the lift itself.
    """
    approval = at.experiment.policy.approval
    assert approval is not None, "asked only where the policy has one"
    if at.experiment.state is not ExperimentState.RUNNING:
        return f"the experiment is {at.experiment.state}"
    early = _too_early(at, approval)
    if early:
        return early
    candidates = first_goal(at)
    if not candidates:
        return "approval needs a goal metric: there is none"
    passed = [each for each in candidates if not why_not(at, each, guards)]
    if not passed:
        return why_not(at, max(candidates, key=_lift), guards)
    best = max(passed, key=_lift)
    return _promotion(at, best, [best, *(each for each in guards if each.variant == best.variant)])


def first_goal(at: Situation) -> list[Compared]:
    """Return the first goal of every variant with traffic."""
    goals = [each.name for each in at.experiment.metrics if each.role is MetricRole.GOAL]
    return [each for each in at.compared_with_traffic if each.metric.name in goals[:1]]


def _too_early(at: Situation, approval: Approval) -> str:
    elapsed_ms = max(0, min(at.totals.latest_ms, at.now_ms) - at.began_ms)
    if elapsed_ms < approval.min_duration_ms:
        return f"{elapsed_ms} of at least {approval.min_duration_ms} ms until approval"
    fewest = min(at.totals.units(each.key) for each in at.experiment.variants if each.weight > 0)
    if fewest < approval.min_units:
        return f"{fewest} of at least {approval.min_units} units per variant until approval"
    return ""


def why_not(at: Situation, each: Compared, guards: list[Compared]) -> str:
    """Return why a variant is not approved, "" when it is."""
    approval, place = at.experiment.policy.approval, f"{each.metric.name} of {each.variant}"
    assert approval is not None, "asked only where the policy has one"
    if isinstance(each.answer, NotEnough):
        return f"{place}: no evidence: {each.answer.reason}"
    if each.answer.relative is None:
        return f"{place}: the control is 0, there is no lift to approve"
    lift = _lift(each)
    if lift < approval.min_lift:
        return f"{place} is better by {lift:.2%}; approval asks for {approval.min_lift:.2%}"
    if _log_p(at, each) > math.log(at.experiment.policy.alpha):
        return f"{place} is better by {lift:.2%}, which is not yet proved"
    for guard in guards:
        if guard.variant != each.variant:
            continue
        if isinstance(guard.answer, NotEnough):
            return f"{guard.metric.name} of {guard.variant}: no evidence: {guard.answer.reason}"
        if guard.answer.harmful:
            return f"{guard.metric.name} of {guard.variant}: evidence of harm"
    return ""


def _log_p(at: Situation, each: Compared) -> float:
    """ln of the always-valid p-value that the data of this moment have, corrected as the policy asks.

    The moment's own and not the running minimum: what was proved once in the other direction proves nothing.
    """
    assert isinstance(each.answer, Answer), "the caller has asked"
    correction = at.experiment.policy.correction
    goals = {
        other.key: other.answer.log_p if isinstance(other.answer, Answer) else 0.0
        for other in at.compared
        if other.metric.role is MetricRole.GOAL
    }
    return adjusted(correction, goals)[each.key]


def _lift(each: Compared) -> float:
    """Return by how much it is better, relative to control; without that there is nothing to approve."""
    if isinstance(each.answer, NotEnough) or each.answer.relative is None:
        return -math.inf
    return each.answer.relative if each.metric.direction is Direction.INCREASE else -each.answer.relative


def _promotion(at: Situation, best: Compared, evidence: list[Compared]) -> Advice:
    policy, approval = at.experiment.policy, at.experiment.policy.approval
    assert approval is not None, "asked only where the policy has one"
    reason = (
        f"approved: {best.metric.name} of {best.variant} is better by {_lift(best):.2%} (at least "
        f"{approval.min_lift:.2%}), proved at {policy.alpha:g} at any look, on {best.units} and "
        f"{best.control_units} units; no guardrail shows harm"
    )
    return Advice(VerdictKind.PROMOTE, best.variant, reason[:2_000], at.evidence(evidence))
