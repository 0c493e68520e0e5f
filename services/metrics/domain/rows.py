"""What a partition publishes: absolute values per experiment, variant and metric, never increments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from libs.statistics.sums import Sums
from services.metrics.domain.segments import SegmentKind as SegmentKind
from services.metrics.domain.segments import meaning
from services.metrics.domain.tallies import (
    CONVERSIONS,
    EXPOSURES,
    HOUR_MS,
    TOUCHED,
    UNITS,
    ExperimentTally,
    VariantTally,
    to_sums,
)


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant of one experiment in one partition."""

    experiment_id: str
    variant: str
    units: int
    exposures: int
    conversions: int
    last_exposed_ms: int = 0
    """See `VariantTally.last_exposed_ms`."""
    late_units: int = 0
    """Of an experiment that has ended: units that met the variant for the first time when clients no longer
    gave it to anybody."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one variant in one partition; its units stand in the sums."""

    experiment_id: str
    variant: str
    metric: str
    sums: Sums
    sketch: Mapping[int, int] = field(default_factory=dict)
    """Of a quantile: how many of the units that converted have a value in each bin of `quantile_sketch`, all
    above 0. Empty for other kinds."""


@dataclass(frozen=True, slots=True)
class HourRow:
    """What one variant saw within one hour of event time."""

    experiment_id: str
    variant: str
    hour_ms: int
    """When the hour began."""
    units: int
    exposures: int
    conversions: int


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One metric in those units of one variant that share an attribute's value."""

    experiment_id: str
    variant: str
    attribute: str
    kind: SegmentKind
    value: str
    """Empty unless the kind is VALUE."""
    metric: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """One experiment in one partition."""

    experiment_id: str
    multi_variant_units: int
    latest_ms: int
    variants: tuple[VariantRow, ...]
    metrics: tuple[MetricRow, ...]
    hours: tuple[HourRow, ...] = ()
    """Only the hours that changed."""
    segments: tuple[SegmentRow, ...] = ()
    """Only the segments that changed."""


PartitionRows = tuple[ExperimentRow, ...]
"""Every experiment that changed, by id. Empty when nothing did."""


def row_of(tally: ExperimentTally, late_units: Mapping[int, int] = MappingProxyType({})) -> ExperimentRow:
    """Return what is published of one experiment, ordered by variant and the plan's metrics. `late_units` are
    by the variant's place. The hours in it count as published from now on."""
    key = tally.experiment_id
    variants = [tally.variants[name] for name in sorted(tally.variants)]
    return ExperimentRow(
        experiment_id=key,
        multi_variant_units=tally.crossed_units,
        latest_ms=tally.latest_ms,
        variants=tuple(_variant_row(each, late_units.get(each.place, 0)) for each in variants),
        metrics=tuple(
            MetricRow(
                key,
                each.key,
                metric.name,
                to_sums(each.units, each.metrics[index]),
                dict(each.sketches.get(index, {})),
            )
            for each in variants
            for index, metric in enumerate(tally.plan.metrics)
        ),
        hours=tuple(row for each in variants for row in _hours_of(each)),
        segments=tuple(row for each in variants for row in _segments_of(each)),
    )


def _variant_row(variant: VariantTally, late_units: int) -> VariantRow:
    return VariantRow(
        variant.tally.experiment_id,
        variant.key,
        variant.units,
        variant.exposures,
        variant.conversions,
        variant.last_exposed_ms,
        late_units,
    )


def _hours_of(variant: VariantTally) -> list[HourRow]:
    rows = []
    for number in sorted(variant.touched):
        hour = variant.hours[number]
        hour[TOUCHED] = 0
        counts = hour[UNITS], hour[EXPOSURES], hour[CONVERSIONS]
        rows.append(HourRow(variant.tally.experiment_id, variant.key, number * HOUR_MS, *counts))
    variant.touched.clear()
    return rows


def _segments_of(variant: VariantTally) -> list[SegmentRow]:
    plan, rows = variant.tally.plan, []
    for (place, digit), cell in sorted(variant.cells.items()):
        if not cell.touched:
            continue
        cell.touched = False
        kind, value = meaning(plan.breakdowns[place], digit)
        attribute = plan.breakdowns[place].attribute
        rows += [
            SegmentRow(
                variant.tally.experiment_id,
                variant.key,
                attribute,
                kind,
                value,
                metric.name,
                to_sums(cell.units, cell.metrics[index]),
            )
            for index, metric in enumerate(plan.metrics)
        ]
    return rows
