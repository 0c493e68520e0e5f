"""A change of an experiment, with everything that must come to be in the same transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.common.ids import derived_id
from schemas.audience import Forced
from schemas.experiments import Experiment, Rollback, Variant
from services.assignment.domain.coverage import ExposedUnits
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.quarantine import QuarantineEntry


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
    target: "CoverageTarget | None" = None
    """Of a change of coverage: how much, and what becomes of exposed units."""
    forced: tuple[Forced, ...] = ()
    """Units that get a variant by name from now on; all others do not."""


@dataclass(frozen=True, slots=True)
class CoverageTarget:
    """How much of all traffic is to take part: the stage where a ramp sets it, else a share of all units."""

    stage: int | None = None
    coverage: float | None = None
    exposed_units: ExposedUnits | None = None
    """Needed where it becomes less."""


@dataclass(frozen=True, slots=True)
class Change:
    """The experiment as it is from now on; its revision is one more than what it replaces."""

    experiment: Experiment
    verdict_id: str | None = None
    rollback: Rollback | None = None
    model: ModelRecord | None = None
    """The model's record as it is from now on, where the change concerns it."""
    quarantine: tuple[QuarantineEntry, ...] = ()
    """What the change does to the model's quarantine, for its log."""


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
