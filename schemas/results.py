"""What metrics knows about an experiment, as a state that anyone may read."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.event import Contract
from schemas.experiments import Direction, MetricKind, MetricRole
from schemas.names import Count, Finite, Key, Name, Offsets, Probability, ShortText, Text, TimeMs

MAX_HOURS = 48
MAX_SERIES = 2_000


class VariantCount(Contract):
    """How many took part in one variant. Units seen in several variants are left out of `units`."""

    variant: Key
    units: Count
    exposures: Count
    conversions: Count


class Summary(Contract):
    """One metric in one variant. `mean` is None with its reason in the comparison when there are no units.

    Of a ratio, mean and variance are those of its numerator per unit; the ratio itself is in the comparison.
    """

    variant: Key
    metric: Key
    units: Count
    converted_units: Count
    mean: Finite | None
    variance: Finite | None


class HourCount(Contract):
    """What one variant saw within one hour of event time."""

    variant: Key
    hour_ms: TimeMs
    """When the hour began: a multiple of 3,600,000."""
    units: Count
    """Units of the sample whose first exposure lies in the hour."""
    exposures: Count
    """Distinct exposures in the hour, those of units in several variants included."""
    conversions: Count
    """Distinct conversions in the hour, of units in the sample, that count for at least one metric."""


class SegmentSummary(Contract):
    """One metric in the units of one variant that share an attribute's value; of a ratio, its numerator."""

    attribute: Name
    value: ShortText | None
    """None: the value is none of those that the definition names, or there is none (`missing`)."""
    missing: bool = False
    """True: units whose first exposure does not have the attribute."""
    variant: Key
    metric: Key
    units: Count
    converted_units: Count
    mean: Finite | None
    variance: Finite | None


class Comparison(Contract):
    """A variant against control on one metric. Without enough data: no numbers, and `reason` says why.

    Numbers are those of `method`, which is the policy's. The lift is relative to the size of the control's
    mean; without bounds, `relative_reason` says why.
    """

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
    relative_lower: Finite | None = None
    relative_upper: Finite | None = None
    relative_method: ShortText = ""
    relative_reason: Text = ""
    adjusted_p_value: Probability | None = None
    """Corrected for the questions of `family`."""
    family: ShortText = ""
    chance_to_beat_control: Probability | None = None
    expected_loss: Finite | None = None
    """What choosing the variant costs on average, in units of the metric."""
    expected_loss_of_control: Finite | None = None
    variance_reduction: Probability | None = None
    """Share of the variance that the units' own past explains (CUPED)."""
    tuned_units: Count | None = None
    """Of always-valid numbers: the units of all variants together at which they are tightest."""
    planned_units: Count | None = None
    """What the method is planned for; units of all variants together."""
    look: Count | None = None
    """The planned look that these numbers are of, from 1..."""
    looks: Count | None = None
    """...of so many."""
    bound: Finite | None = None
    """How many standard errors the look asks for."""
    crossed: bool | None = None
    note: Text = ""
    """What to know before acting on the numbers."""


class SampleRatio(Contract):
    """Do the units split as configured? `p_value` is always-valid."""

    p_value: Probability
    mismatch: bool
    expected: dict[Key, Probability]
    observed: dict[Key, Count]
    """Units of the current period..."""
    periods: Annotated[int, Field(ge=1)] = 1
    """...of so many: a period ends when the weights or the ramp's stage change. The p-value is of all."""


class Effect(Contract):
    """What a level of a factor does (main effect), or two levels together beyond that (interaction).

    Relative to the mean over all variants, each counting the same. Always-valid, but not corrected for the
    number of effects.
    """

    metric: Key
    levels: dict[Key, Key]
    """Factor to level: one of a main effect, two of an interaction."""
    estimate: Finite
    lower: Finite
    upper: Finite
    p_value: Probability
    alpha: Probability
    method: ShortText


class MissingEffects(Contract):
    """Why a metric has no effects."""

    metric: Key
    reason: Text


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
    effects: Annotated[tuple[Effect, ...], Field(strict=False)] = ()
    """Of a multivariate experiment, for each metric: main effects, then two-way interactions..."""
    missing_effects: Annotated[tuple[MissingEffects, ...], Field(strict=False)] = ()
    """...or why there are none."""
    hours: Annotated[tuple[HourCount, ...], Field(strict=False)] = ()
    """The latest hours, at most `MAX_HOURS` and at most `MAX_SERIES` entries in all; older ones are kept in
    metrics' own tables."""
    segments: Annotated[tuple[SegmentSummary, ...], Field(strict=False)] = ()
    """By the definition's breakdowns, at most `MAX_SERIES` entries: those of the first metrics where that is
    not enough for all."""
    sample_ratio: SampleRatio | None
    offsets: Offsets
