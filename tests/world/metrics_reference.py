"""What metrics must find, computed the slow and simple way: lists, fractions, no state, no increments.

It shares nothing with ingest but the schemas, so that the two cannot be wrong together.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from schemas.experiments import Experiment, Metric, MetricKind
from schemas.facts import Conversion, Exposure


class Expected(NamedTuple):
    """One metric in one variant: units, converted units, Σy and Σy² in millionths."""

    units: int
    converted_units: int
    total: int
    total_squares: int


class Counts(NamedTuple):
    """One variant: units, distinct exposures, distinct conversions that count for some metric."""

    units: int
    exposures: int
    conversions: int


class Reference(NamedTuple):
    """One experiment."""

    counts: dict[str, Counts]
    metrics: dict[tuple[str, str], Expected]
    multi_variant_units: int
    latest_ms: int


def reference(
    experiment: Experiment, exposures: Iterable[Exposure], conversions: Iterable[Conversion]
) -> Reference:
    """Return the truth about one experiment from all events, in any order, with repetitions."""
    seen = {(e.unit_id, e.event_id): e for e in exposures if e.experiment_id == experiment.experiment_id}
    done = {(c.unit_id, c.event_id): c for c in conversions}
    by_unit: dict[str, list[Exposure]] = {}
    for exposure in seen.values():
        by_unit.setdefault(exposure.unit_id, []).append(exposure)
    firsts = {
        unit: min(found, key=lambda e: (e.occurred_at_ms, e.event_id))
        for unit, found in by_unit.items()
        if len({e.variant for e in found}) == 1
    }
    variants = sorted({e.variant for e in seen.values()})
    times = [e.occurred_at_ms for e in seen.values()]
    times += [c.occurred_at_ms for c in done.values() if c.unit_id in by_unit]
    return Reference(
        {each: _counts(each, experiment, seen.values(), firsts, done.values()) for each in variants},
        {
            (each, metric.name): _expected(each, metric, firsts, done.values())
            for each in variants
            for metric in experiment.metrics
        },
        len(by_unit) - len(firsts),
        max(times, default=0),
    )


def _counts(
    variant: str,
    experiment: Experiment,
    exposures: Iterable[Exposure],
    firsts: dict[str, Exposure],
    conversions: Iterable[Conversion],
) -> Counts:
    mine = {unit: first for unit, first in firsts.items() if first.variant == variant}
    counted = [
        c
        for c in conversions
        if c.unit_id in mine and any(_counts_for(c, m, mine[c.unit_id]) for m in experiment.metrics)
    ]
    return Counts(len(mine), sum(e.variant == variant for e in exposures), len(counted))


def _expected(
    variant: str, metric: Metric, firsts: dict[str, Exposure], conversions: Iterable[Conversion]
) -> Expected:
    values: dict[str, list[int]] = {u: [] for u, first in firsts.items() if first.variant == variant}
    for conversion in conversions:
        if conversion.unit_id in values and _counts_for(conversion, metric, firsts[conversion.unit_id]):
            values[conversion.unit_id].append(round(Fraction(conversion.value) * 1_000_000))
    if metric.kind is MetricKind.PROPORTION:
        ys = [1_000_000 if found else 0 for found in values.values()]
    else:
        ys = [sum(found) for found in values.values()]
    return Expected(len(ys), sum(bool(found) for found in values.values()), sum(ys), sum(y * y for y in ys))


def _counts_for(conversion: Conversion, metric: Metric, first: Exposure) -> bool:
    elapsed_ms = conversion.occurred_at_ms - first.occurred_at_ms
    return conversion.name == metric.conversion and 0 <= elapsed_ms <= metric.window_ms
