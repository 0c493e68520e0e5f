"""What the judge's benchmark is about: experiments with their sums, made from a seed, and looks at them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from libs.statistics.sums import MICRO, Sums
from schemas.experiments import Experiment, ExperimentState, Metric, MetricKind, MetricRole, Policy, Variant
from services.metrics.domain.totals import ExperimentTotals, VariantTotals

T0 = 1_700_000_000_000
VARIANTS = ("control", "b", "c")
_P, _M = MetricKind.PROPORTION, MetricKind.MEAN
KINDS = (_P, _P, _P, _P, _M, _M, _M, MetricKind.COUNT, MetricKind.RATIO, _M)
"""Of the metrics of an experiment; the last one has a covariate."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to judge."""

    experiments: int = 200
    metrics: int = 10

    @property
    def comparisons(self) -> int:
        """Return how many comparisons that is."""
        return self.experiments * self.metrics * (len(VARIANTS) - 1)


def metrics(count: int) -> tuple[Metric, ...]:
    """Return so many metrics: proportions, means, a count, a ratio, and a mean with a covariate."""
    found = []
    for number in range(count):
        place = number % len(KINDS)
        kind = KINDS[place]
        metric = Metric(
            name=f"metric-{number}",
            conversion=f"event-{number}",
            kind=kind,
            role=MetricRole.GUARDRAIL if number % 2 else MetricRole.GOAL,
            denominator="view" if kind is MetricKind.RATIO else None,
            covariate_window_ms=1_000 if place == len(KINDS) - 1 else 0,
        )
        found.append(metric)
    return tuple(found)


def experiments(size: Size, policy: Policy) -> list[Experiment]:
    """Return running experiments of three variants, all with the same metrics."""
    return [
        Experiment(
            experiment_id=f"experiment-{number}",
            variants=tuple(Variant(key=key) for key in VARIANTS),
            control=VARIANTS[0],
            metrics=metrics(size.metrics),
            policy=policy,
            state=ExperimentState.RUNNING,
            revision=1,
            stage_started_at_ms=T0,
            created_at_ms=T0,
            updated_at_ms=T0,
            changed_by="benchmark",
            reason="benchmark",
        )
        for number in range(size.experiments)
    ]


def first_totals(chance: random.Random, subject: Experiment) -> ExperimentTotals:
    """Return totals of some thousand units a variant."""
    units = {key: chance.randint(4_000, 6_000) for key in VARIANTS}
    return ExperimentTotals(
        variants={key: VariantTotals(count, 2 * count, count) for key, count in units.items()},
        sums={
            (key, metric.name): _sums(chance, metric.kind, count)
            for key, count in units.items()
            for metric in subject.metrics
        },
        multi_variant_units=3,
        latest_ms=T0 + 60_000,
        offsets={f"{topic}-{part}": 10_000 for topic in ("exposures", "conversions") for part in range(4)},
    )


def moved(chance: random.Random, totals: ExperimentTotals, names: Sequence[str]) -> ExperimentTotals:
    """Return the totals after some more units did something that these metrics count."""
    wanted = frozenset(names)
    more = {
        place: sums + _more(chance) if place[1] in wanted else sums for place, sums in totals.sums.items()
    }
    return replace(totals, sums=more, latest_ms=totals.latest_ms + 1_000)


def _more(chance: random.Random) -> Sums:
    units = chance.randint(5, 20)
    return Sums(units, 1, MICRO, MICRO**2, units * MICRO, units * MICRO**2, MICRO**2)


def _sums(chance: random.Random, kind: MetricKind, units: int) -> Sums:
    converted = round(units * chance.uniform(0.08, 0.12))
    if kind is MetricKind.PROPORTION:
        return Sums(units, converted, converted * MICRO, converted * MICRO**2)
    mean, past = chance.uniform(2.9, 3.1), chance.uniform(2.9, 3.1)
    return Sums(
        units,
        converted,
        round(units * mean * MICRO),
        round(units * (mean * mean + 16.0) * MICRO**2),
        round(units * past * MICRO),
        round(units * (past * past + 9.0) * MICRO**2),
        round(units * (mean * past + 6.0) * MICRO**2),
    )
