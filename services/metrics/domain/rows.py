"""What a partition publishes: absolute values per experiment, variant and metric, never increments."""

from dataclasses import dataclass

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
class ExperimentRow:
    """One experiment in one partition."""

    experiment_id: str
    multi_variant_units: int
    latest_ms: int
    variants: tuple[VariantRow, ...]
    metrics: tuple[MetricRow, ...]


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
