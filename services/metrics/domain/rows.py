"""What a partition publishes: absolute values per experiment, variant and metric, never increments."""

from dataclasses import dataclass
from enum import StrEnum

from libs.statistics.sums import Sums
from services.metrics.domain.tallies import ExperimentTally


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant of one experiment in one partition."""

    experiment_id: str
    variant: str
    units: int
    exposures: int
    conversions: int


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one variant in one partition; its units stand in the sums."""

    experiment_id: str
    variant: str
    metric: str
    sums: Sums


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


class SegmentKind(StrEnum):
    """Which units a segment holds: with a value that the definition names, with another, with none."""

    VALUE = "value"
    OTHER = "other"
    MISSING = "missing"


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


PartitionRows = tuple[ExperimentRow, ...]
"""Every experiment that changed, by id. Empty when nothing did."""


def row_of(tally: ExperimentTally) -> ExperimentRow:
    """Return what is published of one experiment, ordered by variant and the plan's metrics."""
    key = tally.experiment_id
    variants = [tally.variants[name] for name in sorted(tally.variants)]
    return ExperimentRow(
        experiment_id=key,
        multi_variant_units=tally.crossed_units,
        latest_ms=tally.latest_ms,
        variants=tuple(
            VariantRow(key, each.key, each.units, each.exposures, each.conversions) for each in variants
        ),
        metrics=tuple(
            MetricRow(key, each.key, metric.name, each.sums(index))
            for each in variants
            for index, metric in enumerate(tally.plan)
        ),
    )
