"""Factorial experiments: what each level of a factor does, and two together; always valid."""

from dataclasses import dataclass, field
from functools import partial

from libs.statistics.differences import NotEnough
from libs.statistics.factorial import Cells, FactorialEffect, factorial_effects
from libs.statistics.sequences import Tuning, log_p_value, shown_p_value, two_sided_radius
from libs.statistics.sums import Sums
from schemas.experiments import Experiment, ExperimentKind, Metric, MetricKind
from schemas.results import Effect, MissingEffects
from services.metrics.domain.known import Known
from services.metrics.domain.totals import ExperimentTotals

METHOD = "effect coding of cell means, asymptotic confidence sequence"
ADDITIVE = frozenset({MetricKind.PROPORTION, MetricKind.MEAN, MetricKind.COUNT})


@dataclass(slots=True)
class Effects:
    """The effects of all metrics, and of which there are none."""

    found: list[Effect] = field(default_factory=list)
    missing: list[MissingEffects] = field(default_factory=list)


def effects(experiment: Experiment, totals: ExperimentTotals, known: Known) -> Effects:
    """Return the effects of a multivariate experiment; nothing of another."""
    every = Effects()
    if experiment.kind is not ExperimentKind.MULTIVARIATE:
        return every
    for metric in experiment.metrics:
        sums = tuple(totals.metric(each.key, metric.name) for each in experiment.variants)
        found = known.answer(f"effects/{metric.name}", sums, partial(_of_metric, experiment, metric, sums))
        if isinstance(found, NotEnough):
            every.missing.append(MissingEffects(metric=metric.name, reason=found.reason))
        else:
            every.found.extend(found)
    return every


def _of_metric(experiment: Experiment, metric: Metric, sums: tuple[Sums, ...]) -> list[Effect] | NotEnough:
    policy = experiment.policy
    if metric.kind not in ADDITIVE:
        return NotEnough(f"a {metric.kind} has no effects that add up: ask for its parts")
    fewest = min(each.units for each in sums)
    if fewest < policy.burn_in_units:
        return NotEnough(f"{fewest} units in the smallest cell; evidence starts at {policy.burn_in_units}")
    factors = tuple(sorted(experiment.variants[0].levels))
    cells = {
        tuple(each.levels[factor] for factor in factors): found
        for each, found in zip(experiment.variants, sums, strict=True)
    }
    found = factorial_effects(Cells(factors, cells, metric.kind is MetricKind.PROPORTION))
    if isinstance(found, NotEnough):
        return found
    units = sum(each.units for each in sums)
    return [_effect(metric.name, each, units, Tuning(policy.alpha, policy.tuned_units)) for each in found]


def _effect(metric: str, found: FactorialEffect, units: int, tuning: Tuning) -> Effect:
    radius = two_sided_radius(found.variance, units, tuning)
    return Effect(
        metric=metric,
        levels=dict(zip(found.factors, found.levels, strict=True)),
        estimate=found.estimate,
        lower=found.estimate - radius,
        upper=found.estimate + radius,
        p_value=shown_p_value(log_p_value(found.estimate, found.variance, units, tuning)),
        alpha=tuning.alpha,
        method=METHOD,
    )
