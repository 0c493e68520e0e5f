"""What metrics knows about an experiment, as a state that anyone may read."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.event import Contract
from schemas.experiments import Direction, MetricKind, MetricRole
from schemas.names import Count, Finite, Key, Offsets, Probability, ShortText, Text, TimeMs


class VariantCount(Contract):
    """How many took part in one variant. Units seen in several variants are left out of `units`."""

    variant: Key
    units: Count
    exposures: Count
    conversions: Count


class Summary(Contract):
    """One metric in one variant. `mean` is None with its reason in the comparison when there are no units."""

    variant: Key
    metric: Key
    units: Count
    converted_units: Count
    mean: Finite | None
    variance: Finite | None


class Comparison(Contract):
    """A variant against control on one metric. Without enough data: no numbers, and `reason` says why."""

    metric: Key
    kind: MetricKind
    role: MetricRole
    direction: Direction
    variant: Key
    control: Key
    units: Count
    control_units: Count
    sufficient: bool
    reason: Text
    estimate: Finite | None = None
    lower: Finite | None = None
    upper: Finite | None = None
    relative: Finite | None = None
    p_value: Probability | None = None
    alpha: Probability
    method: ShortText
    margin: Finite


class SampleRatio(Contract):
    """Do the units split as configured? `p_value` is always-valid."""

    p_value: Probability
    mismatch: bool
    expected: dict[Key, Probability]
    observed: dict[Key, Count]


class Result(Contract):
    """All that is known of one experiment, recomputable from the log up to `offsets`."""

    type: Literal["result"] = "result"
    experiment_id: Key
    revision: Annotated[int, Field(ge=1)]
    computed_at_ms: TimeMs
    as_of_ms: TimeMs
    """The latest event time that is in."""
    counts: Annotated[tuple[VariantCount, ...], Field(strict=False)]
    multi_variant_units: Count
    summaries: Annotated[tuple[Summary, ...], Field(strict=False)]
    comparisons: Annotated[tuple[Comparison, ...], Field(strict=False)]
    sample_ratio: SampleRatio | None
    offsets: Offsets
