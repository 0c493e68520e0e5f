"""From evidence to advice: roll back, advance, promote, or hold with the reason."""

from dataclasses import dataclass

from libs.statistics.comparisons import Answer
from libs.statistics.differences import NotEnough
from schemas.experiments import (
    Direction,
    Evidence,
    Experiment,
    ExperimentState,
    MetricRole,
    RampEvidence,
    VerdictKind,
)
from services.metrics.domain.evidence import Compared, to_evidence
from services.metrics.domain.ramp import StageProgress


@dataclass(frozen=True, slots=True)
class Advice:
    """What metrics would do, about which variant, and why."""

    kind: VerdictKind
    variant: str
    reason: str
    evidence: tuple[Evidence, ...] = ()


def advise(experiment: Experiment, compared: tuple[Compared, ...], progress: StageProgress) -> Advice | None:
    """Return the advice; None for an experiment that is not live, about which nothing is left to decide."""
    if not experiment.live:
        return None
    breaches = [each for each in compared if each.breached]
    if breaches:
        return _roll_back(experiment, breaches)
    guards = [each for each in compared if each.is_guardrail and _has_traffic(experiment, each.variant)]
    obstacle = _no_ramp(experiment, progress) or _too_early(progress) or _no_evidence(guards, progress)
    if obstacle:
        return Advice(VerdictKind.HOLD, first_treatment(experiment), obstacle)
    return _go_on(experiment, compared, guards, progress)


def first_treatment(experiment: Experiment) -> str:
    """Return the first variant that is not control: there are at least two variants."""
    return next(each.key for each in experiment.variants if each.key != experiment.control)


def _has_traffic(experiment: Experiment, variant: str) -> bool:
    return experiment.variant(variant).weight > 0


def _roll_back(experiment: Experiment, breaches: list[Compared]) -> Advice:
    worst = max(breaches, key=_badness)
    reason = "; ".join(breach_in_words(each) for each in breaches)[:1_800]
    if not experiment.policy.automatic_rollback:
        return Advice(VerdictKind.HOLD, worst.variant, f"automatic rollback is off, but: {reason}")
    return Advice(VerdictKind.ROLL_BACK, worst.variant, reason, _evidence(breaches, experiment.policy.alpha))


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


def _go_on(
    experiment: Experiment, compared: tuple[Compared, ...], guards: list[Compared], progress: StageProgress
) -> Advice:
    assert progress.stage is not None, "asked only in a stage"
    required = "no evidence of harm" if progress.stage.requires is RampEvidence.STABLE else "harm is excluded"
    reason = (
        f"stage {experiment.stage}: {progress.elapsed_ms} ms, {progress.fewest_new_units} or more new units "
        f"per variant, and {required} on {', '.join(sorted({each.metric.name for each in guards}))}"
    )
    evidence = _evidence(guards, experiment.policy.alpha)
    if progress.is_last:
        best = _best_treatment(experiment, compared)
        return Advice(VerdictKind.PROMOTE, best, reason[:2_000], evidence)
    return Advice(VerdictKind.ADVANCE, first_treatment(experiment), reason[:2_000], evidence)


def _best_treatment(experiment: Experiment, compared: tuple[Compared, ...]) -> str:
    """Of several variants that may be promoted: the best on the first goal, or else the first guardrail."""
    judged = [
        each
        for each in compared
        if isinstance(each.answer, Answer) and _has_traffic(experiment, each.variant)
    ]
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
        f"{answer.floor:.4g} to {answer.ceiling:.4g}, {each.units} and {each.control_units} units"
    )


def _evidence(compared: list[Compared], alpha: float) -> tuple[Evidence, ...]:
    return tuple(
        to_evidence(each, each.answer, alpha) for each in compared if isinstance(each.answer, Answer)
    )[:100]
