"""Every variant against control on every metric: the numbers, or why there are none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from libs.statistics.comparisons import Answer
from libs.statistics.cuped import Adjustment, adjustment
from libs.statistics.differences import NotEnough
from libs.statistics.sums import Sums
from schemas.experiments import Evidence, Experiment, Metric, MetricKind, MetricRole
from schemas.policies import GuardrailEvidence
from services.metrics.domain.always_valid import evidence_on
from services.metrics.domain.known import Known
from services.metrics.domain.matters import Matter, Sketch
from services.metrics.domain.memory import LookMemory
from services.metrics.domain.methods.base import Shown, finite
from services.metrics.domain.methods.registry import METHODS
from services.metrics.domain.questions import question, question_key
from services.metrics.domain.totals import ExperimentTotals


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison and where it came from."""

    metric: Metric
    variant: str
    control: str
    units: int
    control_units: int
    answer: Answer | NotEnough
    """Always valid: what acts rests on it."""
    proved_by: str
    shown: Shown | NotEnough
    """By the policy's method."""
    adjustment: Adjustment | None
    harm_is_proved: bool
    """As far as the policy's `guardrail_evidence` asks."""
    key: str
    """Names the question: running minima of p-values belong to it."""

    @property
    def is_guardrail(self) -> bool:
        """Return whether harm on this metric acts."""
        return self.metric.role is MetricRole.GUARDRAIL

    @property
    def harmful(self) -> bool:
        """Return whether the always-valid evidence excludes no harm."""
        return isinstance(self.answer, Answer) and self.answer.harmful

    @property
    def breached(self) -> bool:
        """Worse than the margin, and the always-valid evidence excludes no harm (or harm within it)."""
        return (
            self.harm_is_proved
            and self.is_guardrail
            and isinstance(self.answer, Answer)
            and self.answer.worse_than_margin
        )


@dataclass(frozen=True, slots=True)
class Before:
    """What earlier judgements leave behind for the next comparison."""

    looks: Mapping[str, LookMemory] = field(default_factory=dict)
    reweighted: bool = False
    """The weights are not those that the experiment began with."""


def compare_all(
    experiment: Experiment, totals: ExperimentTotals, before: Before | None = None, known: Known | None = None
) -> tuple[Compared, ...]:
    """Return every metric of every variant but control, in the order of the definition.

    `known` spares the work on what has not changed since; with or without it the answers are the same.
    """
    shares = {} if before is not None and before.reweighted else _shares(experiment)
    looks = before.looks if before is not None else {}
    known = known or Known()
    return tuple(
        found
        for metric in experiment.metrics
        for found in _compare_metric(experiment, metric, totals, (shares, looks, known))
    )


def _shares(experiment: Experiment) -> dict[str, float]:
    """Return each variant's share of the units that it and control get; without those of no weight."""
    control = experiment.variant(experiment.control).weight
    if control <= 0.0:
        return {}
    return {
        each.key: each.weight / (each.weight + control) for each in experiment.variants if each.weight > 0.0
    }


def _compare_metric(
    experiment: Experiment,
    metric: Metric,
    totals: ExperimentTotals,
    around: tuple[Mapping[str, float], Mapping[str, LookMemory], Known],
) -> list[Compared]:
    shares, looks, known = around
    asked, control = question(experiment, metric), experiment.control
    sums = {each.key: totals.metric(each.key, metric.name) for each in experiment.variants}
    by = _adjustment(metric, sums, known)
    units = sum(each.units for each in sums.values())
    base, found = sums[control], []
    for variant, one in sums.items():
        if variant == control:
            continue
        key = question_key(experiment, metric, variant)
        matter = Matter(
            metric=metric,
            policy=experiment.policy,
            question=asked,
            treatment=one,
            control=base,
            sketches=_sketches(metric, totals, (variant, control)),
            adjustment=by,
            share=shares.get(variant),
            units=units,
            look=looks.get(key),
        )
        found.append(known.answer(key, matter, partial(_compared, matter, variant, control, key)))
    return found


def _adjustment(metric: Metric, sums: Mapping[str, Sums], known: Known) -> Adjustment | None:
    if not metric.covariate_window_ms or metric.kind in (MetricKind.RATIO, MetricKind.QUANTILE):
        return None
    variants = tuple(sums.values())
    found: Adjustment = known.answer(f"adjustment/{metric.name}", variants, lambda: adjustment(variants))
    return found


def _sketches(metric: Metric, totals: ExperimentTotals, variants: tuple[str, str]) -> tuple[Sketch, Sketch]:
    if metric.kind is not MetricKind.QUANTILE:
        return _NO_SKETCHES
    one, zero = variants
    return totals.sketch(one, metric.name), totals.sketch(zero, metric.name)


_NO_SKETCHES: tuple[Sketch, Sketch] = ({}, {})


def _compared(matter: Matter, variant: str, control: str, key: str) -> Compared:
    evidence = evidence_on(matter)
    answer = evidence.answer
    harmful = isinstance(answer, Answer) and answer.harmful
    if harmful and matter.policy.guardrail_evidence is GuardrailEvidence.MARGIN:
        harmful = evidence.beyond_margin()
    return Compared(
        metric=matter.metric,
        variant=variant,
        control=control,
        units=matter.treatment.units,
        control_units=matter.control.units,
        answer=answer,
        proved_by=evidence.proved_by,
        shown=finite(METHODS[matter.policy.method](matter, evidence)),
        adjustment=matter.adjustment,
        harm_is_proved=harmful,
        key=key,
    )


def smallest_p_values(compared: tuple[Compared, ...], before: Mapping[str, float]) -> dict[str, float]:
    """Return the running minimum of ln p of each question that has an answer or had one."""
    smallest = {each.key: before[each.key] for each in compared if each.key in before}
    for each in compared:
        if isinstance(each.answer, Answer):
            smallest[each.key] = min(each.answer.log_p, smallest.get(each.key, 0.0))
    return smallest


def looks_taken(compared: tuple[Compared, ...], before: Mapping[str, LookMemory]) -> dict[str, LookMemory]:
    """Return the last look of each question, also where it cannot be shown just now."""
    looks = {}
    for each in compared:
        look = each.shown.look if isinstance(each.shown, Shown) else before.get(each.key)
        if look is not None:
            looks[each.key] = look
    return looks


def shown_log_p(each: Compared, smallest: Mapping[str, float]) -> float | None:
    """Return ln of the p-value that is shown: of always-valid ones the smallest so far."""
    if isinstance(each.shown, NotEnough):
        return None
    return smallest[each.key] if each.shown.always_valid else each.shown.log_p


def to_evidence(each: Compared, answer: Answer, alpha: float) -> Evidence:
    """Return what a verdict rests on: the one-sided sequences, each bound at alpha."""
    return Evidence(
        metric=each.metric.name,
        variant=each.variant,
        control=each.control,
        units=each.units,
        control_units=each.control_units,
        estimate=answer.estimate,
        lower=answer.floor,
        upper=answer.ceiling,
        relative=answer.relative,
        margin=each.metric.margin,
        alpha=alpha,
        method=each.proved_by,
    )
