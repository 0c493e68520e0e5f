"""A change of an experiment, with everything that must come to be in the same transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.common.ids import derived_id
from schemas.experiments import Experiment, Rollback, Variant
from services.assignment.domain.model_record import ModelRecord


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants done: to which experiment, who, and why."""

    experiment_id: str
    by: str
    reason: str
    verdict_id: str | None = None
    """The verdict that is followed; no verdict is followed twice."""
    variant: str | None = None
    """Of a promotion: the variant that takes over. May be left out where there is only one to choose."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of a reallocation: the new weight of each variant."""


@dataclass(frozen=True, slots=True)
class Change:
    """The experiment as it is from now on; its revision is one more than what it replaces."""

    experiment: Experiment
    verdict_id: str | None = None
    rollback: Rollback | None = None
    model: ModelRecord | None = None
    """The model's record as it is from now on, where the change concerns it."""


@dataclass(frozen=True, slots=True)
class Past:
    """One entry of an experiment's history."""

    experiment: Experiment
    verdict_id: str | None


def challengers(experiment: Experiment) -> tuple[Variant, ...]:
    """Return the variants other than control."""
    return tuple(each for each in experiment.variants if each.key != experiment.control)


def rollback_of(experiment: Experiment, verdict_id: str | None) -> Rollback:
    """Return the event that tells of the rollback whose outcome `experiment` is.

    The version that control carries stays: it is the safe one.
    """
    safe = experiment.variant(experiment.control).model_version
    versions = {each.model_version for each in challengers(experiment)} - {None, safe}
    return Rollback(
        rollback_id=derived_id("rollback", experiment.experiment_id, experiment.revision),
        experiment_id=experiment.experiment_id,
        model=experiment.model,
        variants=tuple(each.key for each in challengers(experiment)),
        model_versions=tuple(sorted(version for version in versions if version is not None)),
        safe_variant=experiment.control,
        verdict_id=verdict_id,
        occurred_at_ms=experiment.updated_at_ms,
        decided_by=experiment.changed_by,
        reason=experiment.reason,
    )
