"""Model versions: reference profiles, who is champion, and the life of a retraining."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.event import Contract
from schemas.names import MAX_FEATURES, Count, Finite, Id, Key, Name, ShortText, Text, TimeMs

MAX_BINS = 64


class FeatureReference(Contract):
    """A numeric feature when all was well: `counts[i]` values in (edges[i-1], edges[i]]; ends are open."""

    feature: Name
    edges: Annotated[tuple[Finite, ...], Field(strict=False, max_length=MAX_BINS - 1)]
    counts: Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=MAX_BINS)]
    mean: Finite
    variance: Finite


class ReferenceProfile(Contract):
    """What a model version's inputs, outputs and errors looked like when all was well."""

    predictions: Count
    features: Annotated[tuple[FeatureReference, ...], Field(strict=False, max_length=MAX_FEATURES)]
    score: Finite | None = None
    """Accuracy of a classifier on the reference; None when no labels were there."""


class VersionRole(StrEnum):
    """What a version is to its model."""

    CANDIDATE = "candidate"
    CHALLENGER = "challenger"
    CHAMPION = "champion"


class ModelVersion(Contract):
    """One registered version of a model."""

    version: Key
    run_id: Id | None = None
    origin: Literal["registered", "retrained"]
    created_at_ms: TimeMs
    scores: dict[Name, Finite] = Field(default_factory=dict)
    """From validation on held-out later data; empty when a person registered it unvalidated."""
    reference: ReferenceProfile | None = None
    """None: drift takes its first predictions in production as the reference."""


class ModelState(Contract):
    """Who is in charge of a model: the record on the compacted topic `models`."""

    type: Literal["model"] = "model"
    model: Key
    revision: Annotated[int, Field(ge=1)]
    champion: ModelVersion | None
    challenger: ModelVersion | None
    """The version that wants its place: assignment tries it in an experiment."""
    quarantined: Annotated[tuple[Key, ...], Field(strict=False, max_length=1_000)] = ()
    updated_at_ms: TimeMs
    reason: Text


class RetrainingState(StrEnum):
    """The life of one retraining; the last five are final."""

    REQUESTED = "requested"
    COLLECTING = "collecting"
    TRAINING = "training"
    VALIDATING = "validating"
    REGISTERED = "registered"
    REFUSED = "refused"
    REJECTED = "rejected"
    FAILED = "failed"
    PLANNED = "planned"
    """The answer to a dry run."""


class RetrainingCause(StrEnum):
    """What set it off."""

    DEGRADATION = "degradation"
    REQUEST = "request"
    SCHEDULE = "schedule"


class Retraining(Contract):
    """One step in the life of a retraining; the same `retraining_id` from request to end."""

    type: Literal["retraining"] = "retraining"
    retraining_id: Id
    model: Key
    state: RetrainingState
    cause: RetrainingCause
    cause_id: Id | None = None
    """The degradation's id, where one was the cause."""
    since_ms: TimeMs | None = None
    """Train on examples from then on; None: the retrainer's default look-back."""
    force: bool = False
    dry_run: bool = False
    requested_by: ShortText
    occurred_at_ms: TimeMs
    reason: Text
    examples: Count | None = None
    version: Key | None = None
    scores: dict[Name, Finite] = Field(default_factory=dict)


class Registration(Contract):
    """A request to put a version that lies in the model registry under the loop's care."""

    type: Literal["registration"] = "registration"
    registration_id: Id
    model: Key
    version: Key
    role: Literal[VersionRole.CHAMPION, VersionRole.CHALLENGER]
    requested_by: ShortText
    occurred_at_ms: TimeMs
    reason: Text
    reference: ReferenceProfile | None = None
