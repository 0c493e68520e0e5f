"""Follow metrics' advice, where it is about the experiment as it stands and its policy allows it."""

from libs.common.errors import Conflict, Refused
from schemas.experiments import Experiment, ExperimentKind, ExperimentState, Verdict, VerdictKind
from schemas.policies import EarlyStop
from services.assignment.domain.change import Order
from services.assignment.domain.coverage import last_stage
from services.assignment.handlers.advance import advance
from services.assignment.handlers.promote import promote
from services.assignment.handlers.reallocate import reallocate
from services.assignment.handlers.roll_back import roll_back
from services.assignment.handlers.stop import stop
from services.assignment.handlers.verify_rollback import verify_rollback
from services.assignment.ports import Desk

DECIDED_BY = "metrics"
ATTEMPTS = 3
_ACTIONS = {
    VerdictKind.ADVANCE: advance,
    VerdictKind.PROMOTE: promote,
    VerdictKind.ROLL_BACK: roll_back,
    VerdictKind.REALLOCATE: reallocate,
    VerdictKind.STOP: stop,
    VerdictKind.VERIFY: verify_rollback,
}


async def follow_verdict(desk: Desk, verdict: Verdict) -> str:
    """Act on a verdict, at most once. Returns "" when it was followed, else why it was not.

    A verdict about an older revision or stage is advice on something that is no more. What was followed has
    raised the revision, so the same verdict, delivered again, is stale.
    """
    order = Order(
        verdict.experiment_id,
        DECIDED_BY,
        verdict.reason,
        verdict_id=verdict.verdict_id,
        variant=verdict.variant,
        weights=verdict.weights,
    )
    for _ in range(ATTEMPTS):
        experiment = await desk.store.find(verdict.experiment_id)
        why_not = why_ignored(experiment, verdict)
        if why_not:
            return why_not
        try:
            await _ACTIONS[verdict.kind](desk, order)
        except Conflict:
            continue  # changed between reading and writing: look again whether the advice still fits
        except Refused as error:
            return error.message
        return ""
    raise Conflict(f"{verdict.experiment_id} keeps changing; verdict {verdict.verdict_id} is tried again")


def why_ignored(experiment: Experiment | None, verdict: Verdict) -> str:
    """Return why a verdict is not acted upon; "" when it is."""
    if experiment is None:
        return "there is no such experiment"
    if verdict.kind is VerdictKind.HOLD:
        return "hold: nothing to do"
    rolled_back = experiment.state is ExperimentState.ROLLED_BACK
    if not experiment.live and not (rolled_back and verdict.kind is VerdictKind.VERIFY):
        return f"the experiment is {experiment.state}"
    if (verdict.revision, verdict.stage) != (experiment.revision, experiment.stage):
        return f"it is about revision {verdict.revision}; the experiment is at {experiment.revision}"
    if verdict.kind is VerdictKind.VERIFY:
        return "" if rolled_back else "there was no rollback"
    if verdict.kind is VerdictKind.ROLL_BACK:
        return "" if experiment.policy.automatic_rollback else "a person rolls this experiment back"
    if _asked_for(experiment, verdict.kind):
        return "" if experiment.state is ExperimentState.RUNNING else f"the experiment is {experiment.state}"
    if verdict.kind in (VerdictKind.REALLOCATE, VerdictKind.STOP):
        return f"the experiment's policy does not ask to {verdict.kind}"
    if not experiment.policy.automatic_ramp:
        return "a person moves this experiment on"
    if experiment.state is not ExperimentState.RUNNING:
        return f"the experiment is {experiment.state}"
    at_last = experiment.stage >= last_stage(experiment)
    if at_last != (verdict.kind is VerdictKind.PROMOTE):
        return f"stage {experiment.stage} is {'the last' if at_last else 'not the last'}"
    return ""


def _asked_for(experiment: Experiment, kind: VerdictKind) -> bool:
    """Is this what the policy asks for at any stage: a bandit's weights, an early stop, an approval?"""
    policy = experiment.policy
    if kind is VerdictKind.REALLOCATE:
        return experiment.kind is ExperimentKind.BANDIT
    if kind is VerdictKind.STOP:
        return policy.early_stop is not EarlyStop.NEVER
    early = policy.early_stop is EarlyStop.PROMOTE
    return kind is VerdictKind.PROMOTE and (early or policy.approval is not None)
