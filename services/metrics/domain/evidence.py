"""Every variant against control on every metric: the numbers, or why there are none."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.ids import derived_id
from libs.statistics.comparisons import ONE_SIDED, TWO_SIDED, Answer, Question, compare
from libs.statistics.differences import NotEnough
from libs.statistics.sequences import Tuning, shown_p_value
from schemas.experiments import Direction, Evidence, Experiment, Metric, MetricKind, MetricRole
from schemas.results import Comparison
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
    key: str
    """Names the question: running minima of p-values belong to it."""

    @property
    def is_guardrail(self) -> bool:
        """Return whether harm on this metric acts."""
        return self.metric.role is MetricRole.GUARDRAIL

    @property
    def breached(self) -> bool:
        """Worse than the margin, and the always-valid interval excludes no harm."""
        return (
            self.is_guardrail
            and isinstance(self.answer, Answer)
            and self.answer.harmful
            and self.answer.worse_than_margin
        )


def question(experiment: Experiment, metric: Metric) -> Question:
    """Return what is asked about a metric under the experiment's policy."""
    policy = experiment.policy
    return Question(
        proportion=metric.kind is MetricKind.PROPORTION,
        better_when_higher=metric.direction is Direction.INCREASE,
        margin=metric.margin,
        tuning=Tuning(policy.alpha, policy.tuned_units),
        burn_in_units=policy.burn_in_units,
    )


def question_key(experiment: Experiment, metric: Metric, variant: str) -> str:
    """Return a key that changes with everything that makes two p-values incomparable."""
    policy = experiment.policy
    return derived_id(
        metric.name,
        metric.conversion,
        metric.kind,
        metric.window_ms,
        variant,
        experiment.control,
        str(policy.alpha),
        policy.tuned_units,
    )


def compare_all(experiment: Experiment, totals: ExperimentTotals) -> tuple[Compared, ...]:
    """Return every metric of every variant but control, in the order of the definition."""
    control = experiment.control
    found = []
    for metric in experiment.metrics:
        asked = question(experiment, metric)
        base = totals.metric(control, metric.name)
        for variant in experiment.variants:
            if variant.key != control:
                sums = totals.metric(variant.key, metric.name)
                answer = compare(sums, base, asked)
                key = question_key(experiment, metric, variant.key)
                found.append(Compared(metric, variant.key, control, sums.units, base.units, answer, key))
    return tuple(found)


def smallest_p_values(compared: tuple[Compared, ...], before: Mapping[str, float]) -> dict[str, float]:
    """Return the running minimum of ln p of each question that has an answer or had one."""
    smallest = {each.key: before[each.key] for each in compared if each.key in before}
    for each in compared:
        if isinstance(each.answer, Answer):
            smallest[each.key] = min(each.answer.log_p, smallest.get(each.key, 0.0))
    return smallest


def to_comparison(each: Compared, alpha: float, smallest: Mapping[str, float]) -> Comparison:
    """Return the comparison as it is published: two-sided interval, p-value as a running minimum."""
    answer = each.answer if isinstance(each.answer, Answer) else None
    return Comparison(
        metric=each.metric.name,
        kind=each.metric.kind,
        role=each.metric.role,
        direction=each.metric.direction,
        variant=each.variant,
        control=each.control,
        units=each.units,
        control_units=each.control_units,
        sufficient=answer is not None,
        reason=each.answer.reason if isinstance(each.answer, NotEnough) else "",
        estimate=answer.estimate if answer else None,
        lower=answer.lower if answer else None,
        upper=answer.upper if answer else None,
        relative=answer.relative if answer else None,
        p_value=shown_p_value(smallest[each.key]) if answer else None,
        alpha=alpha,
        method=TWO_SIDED,
        margin=each.metric.margin,
    )


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
        method=ONE_SIDED,
    )
