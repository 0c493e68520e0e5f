"""From evidence to advice: roll back, advance, promote, or hold with the reason."""

from libs.statistics.comparisons import Answer
from libs.statistics.differences import NotEnough
from schemas.experiments import (
    Direction,
    Experiment,
    ExperimentKind,
    ExperimentState,
    MetricRole,
    RampEvidence,
    VerdictKind,
)
from services.metrics.domain.approval import approve
from services.metrics.domain.early_stop import stop_early
from services.metrics.domain.evidence import Compared
from services.metrics.domain.ramp import StageProgress
from services.metrics.domain.reallocation import reallocate
from services.metrics.domain.situation import Advice, Situation


def advise(at: Situation) -> Advice:
    """Return the advice on a live experiment.

    A breached guardrail comes first, then a bandit's weights, an early stop, an approval, the ramp.
    """
    experiment = at.experiment
    breaches = [each for each in at.compared if each.breached]
    if breaches:
        return _roll_back(at, breaches)
    guards = [each for each in at.compared_with_traffic if each.is_guardrail]
    if experiment.kind is ExperimentKind.BANDIT:
        return _or_hold(at, reallocate(at))
    early = stop_early(at)
    if early is not None:
        return early
    waits = "" if experiment.policy.approval is None else approve(at, guards)
    if isinstance(waits, Advice):
        return waits
    progress = at.progress
    obstacle = _no_ramp(experiment, progress) or _too_early(progress) or _no_evidence(guards, progress)
    if obstacle:
        return _or_hold(at, f"{waits}; {obstacle}" if waits else obstacle)
    if progress.is_last and waits:
        return _or_hold(at, waits)
    return _go_on(at, guards)


def _or_hold(at: Situation, found: Advice | str) -> Advice:
    if isinstance(found, Advice):
        return found
    return Advice(VerdictKind.HOLD, at.first_treatment, found[:2_000])


def _roll_back(at: Situation, breaches: list[Compared]) -> Advice:
    worst = max(breaches, key=_badness)
    reason = "; ".join(breach_in_words(each) for each in breaches)[:1_800]
    if not at.experiment.policy.automatic_rollback:
        return Advice(VerdictKind.HOLD, worst.variant, f"automatic rollback is off, but: {reason}")
    return Advice(VerdictKind.ROLL_BACK, worst.variant, reason, at.evidence(breaches))


def _badness(each: Compared) -> float:
    relative = each.answer.relative if isinstance(each.answer, Answer) else 0.0
    return abs(relative) if relative is not None else float("inf")


def _no_ramp(experiment: Experiment, progress: StageProgress) -> str:
    if experiment.state is not ExperimentState.RUNNING:
        return f"the experiment is {experiment.state}"
    if not experiment.policy.automatic_ramp:
        return "the ramp is moved by hand"
    if progress.stage is None:
        return "no ramp stage is left" if experiment.policy.ramp else "the experiment has no ramp"
    return ""


def _too_early(progress: StageProgress) -> str:
    stage = progress.stage
    assert stage is not None, "asked only in a stage"
    if progress.elapsed_ms < stage.min_duration_ms:
        return f"{progress.elapsed_ms} of at least {stage.min_duration_ms} ms in this stage"
    if progress.fewest_new_units < stage.min_units:
        return (
            f"{progress.fewest_new_units} of at least {stage.min_units} new units per variant in this stage"
        )
    return ""


def _no_evidence(guards: list[Compared], progress: StageProgress) -> str:
    if not guards:
        return "no guardrail metric: nothing would protect the next stage"
    assert progress.stage is not None, "asked only in a stage"
    for each in guards:
        place = f"{each.metric.name} of {each.variant}"
        if isinstance(each.answer, NotEnough):
            return f"{place}: no evidence: {each.answer.reason}"
        if progress.stage.requires is RampEvidence.STABLE and each.answer.harmful:
            return f"{place}: evidence of harm"
        if progress.stage.requires is RampEvidence.POSITIVE and not each.answer.harm_within_margin:
            return f"{place}: harm beyond {each.metric.margin:.1%} is not yet excluded"
    return ""


def _go_on(at: Situation, guards: list[Compared]) -> Advice:
    progress = at.progress
    assert progress.stage is not None, "asked only in a stage"
    required = "no evidence of harm" if progress.stage.requires is RampEvidence.STABLE else "harm is excluded"
    reason = (
        f"stage {at.experiment.stage}: {progress.elapsed_ms} ms, {progress.fewest_new_units} or more new "
        f"units per variant, and {required} on {', '.join(sorted({each.metric.name for each in guards}))}"
    )
    kind, variant = VerdictKind.ADVANCE, at.first_treatment
    if progress.is_last:
        kind, variant = VerdictKind.PROMOTE, _best_treatment(at)
    return Advice(kind, variant, reason[:2_000], at.evidence(guards))


def _best_treatment(at: Situation) -> str:
    """Of several variants that may be promoted: the best on the first goal, or else the first guardrail."""
    judged = [each for each in at.compared_with_traffic if isinstance(each.answer, Answer)]
    goals = [each for each in judged if each.metric.role is MetricRole.GOAL] or judged
    same = [each for each in goals if each.metric.name == goals[0].metric.name]
    return max(same, key=_goodness).variant


def _goodness(each: Compared) -> float:
    assert isinstance(each.answer, Answer), "the caller kept the answers"
    return each.answer.estimate if each.metric.direction is Direction.INCREASE else -each.answer.estimate


def breach_in_words(each: Compared) -> str:
    """Return one sentence about a guardrail that is breached."""
    assert isinstance(each.answer, Answer), "a breach has an answer"
    answer = each.answer
    change = "worse, from a control of 0" if answer.relative is None else f"{abs(answer.relative):.1%} worse"
    return (
        f"{each.metric.name} of {each.variant} is {change} than {each.control} (margin "
        f"{each.metric.margin:.0%}); difference {answer.estimate:.4g}, always-valid bounds "
        f"{answer.floor:.4g} to {answer.ceiling:.4g}, {each.units} and {each.control_units} units; "
        f"proved by: {each.proved_by}"
    )
