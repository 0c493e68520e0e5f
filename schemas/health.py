"""What drift knows about a model, alerts for people, and degradations that wake the retrainer."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.event import Contract
from schemas.names import (
    MAX_FEATURES,
    Count,
    Finite,
    Id,
    Key,
    Name,
    Offsets,
    Probability,
    ShortText,
    Text,
    TimeMs,
)


class DriftState(StrEnum):
    """Of one feature: `drifted` needs effect size and valid evidence, both."""

    INSUFFICIENT = "insufficient"
    STABLE = "stable"
    DRIFTED = "drifted"


class FeatureDrift(Contract):
    """One feature of the current window against the reference profile."""

    feature: Name
    state: DriftState
    predictions: Count
    psi: Finite | None = None
    ks: Probability | None = None
    ks_p_value: Probability | None = None


class HealthState(StrEnum):
    """Of a model version, from worst to best knowledge."""

    INSUFFICIENT = "insufficient"
    HEALTHY = "healthy"
    DRIFTING = "drifting"
    DEGRADED = "degraded"


class Performance(Contract):
    """How right the model was on labelled predictions. `score`: accuracy, or R² for regressors."""

    metric: ShortText
    score: Finite | None
    reference_score: Finite | None
    labelled: Count
    error_change: bool = False
    """ADWIN saw the mean error change."""
    reason: Text = ""


class ModelHealth(Contract):
    """One model's health, recomputable from the log up to `offsets`."""

    type: Literal["model_health"] = "model_health"
    model: Key
    version: Key
    state: HealthState
    computed_at_ms: TimeMs
    as_of_ms: TimeMs
    predictions: Count
    """All predictions of this version so far."""
    labelled: Count
    """Those with their label joined, so far."""
    window_predictions: Count
    drifted_features: Count
    features: Annotated[tuple[FeatureDrift, ...], Field(strict=False, max_length=MAX_FEATURES)]
    performance: Performance
    reason: Text
    offsets: Offsets = Field(default_factory=dict)


class Severity(StrEnum):
    """How urgent."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """An episode's life."""

    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Alert(Contract):
    """One episode for people. The same `alert_id` through its life; the latest `changed_at_ms` holds."""

    type: Literal["alert"] = "alert"
    alert_id: Id
    subject: Key
    """The experiment or model that it is about."""
    cause: Key
    """What kind of episode: `guardrail`, `sample-ratio`, `drift`, `performance`, ..."""
    severity: Severity
    state: AlertState
    title: ShortText
    detail: Text
    source: Key
    opened_at_ms: TimeMs
    changed_at_ms: TimeMs


class DegradationCause(StrEnum):
    """Why a model counts as degraded."""

    PERFORMANCE = "performance"
    DRIFT = "drift"


class Degradation(Contract):
    """A model got worse: the fact that wakes the retrainer. One per episode, id derived."""

    type: Literal["degradation"] = "degradation"
    degradation_id: Id
    model: Key
    version: Key
    cause: DegradationCause
    occurred_at_ms: TimeMs
    since_ms: TimeMs
    """When the change began, as far as the evidence tells: examples from then on show the new world."""
    reason: Text
    evidence: dict[Name, Finite] = Field(default_factory=dict)
    offsets: Offsets = Field(default_factory=dict)
