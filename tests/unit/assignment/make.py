"""Experiments, verdicts and models for tests: short to write, whole as in production."""

from collections.abc import Iterable
from typing import Any

from libs.common.clock import ManualClock
from schemas.experiments import (
    Experiment,
    ExperimentDefinition,
    ExperimentKind,
    Metric,
    Policy,
    RampStage,
    Variant,
    Verdict,
    VerdictKind,
)
from schemas.versions import ModelState, ModelVersion
from services.assignment.adapters.memory import MemoryStore
from services.assignment.domain.change import Order
from services.assignment.domain.model_record import TrialTemplate
from services.assignment.ports import Desk

NOW_MS = 1_700_000_000_000
RAMP = tuple(RampStage(share=share, min_duration_ms=1_000) for share in (0.1, 0.25, 0.5))
TEMPLATE = TrialTemplate(metrics=(Metric(name="correct", conversion="correct"),), policy=Policy(ramp=RAMP))


def desk() -> Desk:
    """Return a desk with an empty store in memory and a clock that stands still."""
    clock = ManualClock(NOW_MS)
    return Desk(MemoryStore(clock), clock)


def store_of(place: Desk) -> MemoryStore:
    """Return the store of a desk that `desk()` made."""
    assert isinstance(place.store, MemoryStore)
    return place.store


def definition(experiment_id: str = "checkout", **fields: Any) -> ExperimentDefinition:
    """Return an A/B experiment with a ramp of three stages, with changes."""
    variants = (Variant(key="control", payload="blue"), Variant(key="treatment", payload="green"))
    basis = {"variants": variants, "control": "control", "policy": Policy(ramp=RAMP)}
    return ExperimentDefinition(experiment_id=experiment_id, **(basis | fields))


def trial(experiment_id: str, model: str = "digits", *, champion: str = "1", challenger: str = "2") -> Any:
    """Return the definition of a champion/challenger experiment."""
    return definition(
        experiment_id,
        kind=ExperimentKind.CHAMPION_CHALLENGER,
        model=model,
        variants=(
            Variant(key="champion", model_version=champion),
            Variant(key="challenger", model_version=challenger),
        ),
        control="champion",
    )


def order(experiment_id: str = "checkout", **fields: Any) -> Order:
    """Return an order by a person."""
    return Order(experiment_id, "ada", "because", **fields)


def version(number: str) -> ModelVersion:
    """Return a registered version."""
    return ModelVersion(version=number, origin="registered", created_at_ms=NOW_MS)


def model_state(
    revision: int,
    *,
    champion: str | None = "1",
    challenger: str | None = None,
    quarantined: Iterable[str] = (),
    model: str = "digits",
) -> ModelState:
    """Return what `models` says of a model."""
    return ModelState(
        model=model,
        revision=revision,
        champion=version(champion) if champion else None,
        challenger=version(challenger) if challenger else None,
        quarantined=tuple(quarantined),
        updated_at_ms=NOW_MS,
        reason="test",
    )


def verdict(experiment: Experiment, kind: VerdictKind, **fields: Any) -> Verdict:
    """Return advice on an experiment as it stands, with changes."""
    basis: dict[str, Any] = {
        "verdict_id": f"{experiment.experiment_id}-{experiment.revision}-{kind}",
        "experiment_id": experiment.experiment_id,
        "revision": experiment.revision,
        "stage": experiment.stage,
        "kind": kind,
        "variant": experiment.variants[-1].key,
        "occurred_at_ms": NOW_MS,
        "reason": "evidence",
    }
    return Verdict(**(basis | fields))
