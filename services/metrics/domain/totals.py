"""An experiment's sums over all partitions: what the judge starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from libs.statistics.sums import Sums
from services.metrics.domain.rows import SegmentKind


@dataclass(frozen=True, slots=True)
class VariantTotals:
    """One variant's counts over all partitions."""

    units: int = 0
    exposures: int = 0
    conversions: int = 0
    last_exposed_ms: int = 0
    """When the latest exposure happened, at most when it was written to the log; 0 in the hours."""
    late_units: int = 0
    """Of an experiment that has ended: units that met the variant for the first time when clients no longer
    gave it to anybody."""


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """One metric in those units of one variant that share an attribute's value."""

    attribute: str
    kind: SegmentKind
    value: str
    """Empty unless the kind is VALUE."""
    variant: str
    metric: str


@dataclass(frozen=True, slots=True)
class ExperimentTotals:
    """Everything that ingest has published of one experiment, read at one moment."""

    variants: Mapping[str, VariantTotals]
    sums: Mapping[tuple[str, str], Sums]
    """By (variant, metric). Sums carry their own units: a partition that does not yet measure a new metric
    is missing from both."""
    multi_variant_units: int
    latest_ms: int
    offsets: Mapping[str, int] = field(default_factory=dict)
    """`topic-partition` to the next offset."""
    hours: Mapping[int, Mapping[str, VariantTotals]] = field(default_factory=dict)
    """When an hour began to what each variant saw in it; of the latest hours in which anything happened."""
    segments: Mapping[SegmentKey, Sums] = field(default_factory=dict)
    """Of the metrics that `series.shown_metrics` names. Nothing is summed of the covariate here."""
    sketches: Mapping[tuple[str, str], Mapping[int, int]] = field(default_factory=dict)
    """By (variant, metric), of the quantiles only: how many of the units that converted have a value in each
    bin of `quantile_sketch`."""

    def units(self, variant: str) -> int:
        """Return the units of a variant, 0 for one that nobody met."""
        return self.variants.get(variant, _NOBODY).units

    def metric(self, variant: str, metric: str) -> Sums:
        """Return the sums of a metric, empty for one that nothing is known of."""
        return self.sums.get((variant, metric), _NOTHING)

    def sketch(self, variant: str, metric: str) -> Mapping[int, int]:
        """Return the sketch of a quantile, empty for one that nothing is known of and for other kinds."""
        return self.sketches.get((variant, metric), _NO_SKETCH)

    def segment(self, key: SegmentKey) -> Sums:
        """Return the sums of a segment, empty for one that nothing is known of."""
        return self.segments.get(key, _NOTHING)


_NOBODY = VariantTotals()
_NOTHING = Sums()
_NO_SKETCH: Mapping[int, int] = MappingProxyType({})
