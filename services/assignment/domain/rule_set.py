"""The rule set: what clients need to assign by themselves (`trimtab.rules.parse` reads it)."""

from dataclasses import dataclass

from pydantic import JsonValue

from schemas.experiments import Experiment, ExperimentKind, ExperimentState
from services.assignment.domain.change import challengers
from services.assignment.domain.model_record import ModelRecord
from trimtab.assignments import PAUSED, QUARANTINED, SETTLED
from trimtab.rules import valued_by

Document = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the rules depend on, at one revision."""

    revision: int
    live: tuple[Experiment, ...]
    ended: tuple[Experiment, ...]
    models: tuple[ModelRecord, ...]


def rule_set(snapshot: Snapshot) -> Document:
    """Return the document of `GET /v1/rules`: live experiments, what ended ones ended with, champions."""
    quarantined = {record.model: frozenset(record.quarantined) for record in snapshot.models}
    live: list[JsonValue] = [
        _experiment(each, _closed(each, quarantined.get(each.model or "", frozenset())))
        for each in snapshot.live
    ]
    ended: list[JsonValue] = [
        _ended(each, quarantined.get(each.model or "", frozenset())) for each in snapshot.ended
    ]
    trials = {each.model: each.experiment_id for each in snapshot.live if _is_trial(each)}
    models: list[JsonValue] = [
        {"model": each.model, "champion": each.serving, "experiment_id": trials.get(each.model)}
        for each in snapshot.models
    ]
    return {"revision": snapshot.revision, "experiments": live + ended, "models": models}


def _is_trial(experiment: Experiment) -> bool:
    return experiment.kind is ExperimentKind.CHAMPION_CHALLENGER


def _closed(experiment: Experiment, quarantined: frozenset[str]) -> str:
    """Return why nobody may take part; "" when they may."""
    if experiment.state is ExperimentState.PAUSED:
        return PAUSED
    if any(each.model_version in quarantined for each in challengers(experiment)):
        return QUARANTINED
    return ""


def _experiment(experiment: Experiment, closed: str) -> Document:
    variants: list[JsonValue] = [each.model_dump(mode="json") for each in experiment.variants]
    return {
        "experiment_id": experiment.experiment_id,
        "revision": experiment.revision,
        "closed": closed,
        "exposes": experiment.exposes,
        "shadow": experiment.kind is ExperimentKind.SHADOW,
        "salt": experiment.salt or experiment.experiment_id,
        "hashing": experiment.hashing.value,
        "coverage": experiment.coverage,
        "control": experiment.control,
        "defers_to": None,
        "variants": variants,
        # Of all variants, also where only what serves travels: the end changes no value's meaning.
        "valued": valued_by(variants),
        "targeting": experiment.targeting,
        "exclusion": None if experiment.exclusion is None else experiment.exclusion.model_dump(mode="json"),
        "holdout": None if experiment.holdout is None else experiment.holdout.model_dump(mode="json"),
        "forced": {each.unit_id: each.variant for each in experiment.forced},
        "sticky_since": experiment.remembers_since if experiment.keeps_units else 0,
        "attributes": [each.attribute for each in experiment.breakdowns],
    }


def _ended(experiment: Experiment, quarantined: frozenset[str]) -> Document:
    served, closed = experiment.variant(experiment.promoted_variant or experiment.control), SETTLED
    if served.model_version in quarantined:  # it won here and was rolled back elsewhere
        served, closed = experiment.variant(experiment.control), QUARANTINED
    return _experiment(experiment, closed) | {
        "control": served.key,
        "defers_to": experiment.model if _is_trial(experiment) else None,
        "forced": {},
        # Only what still serves travels: a rolled back version is in no rule set.
        "variants": [served.model_copy(update={"weight": 1.0}).model_dump(mode="json")],
    }
