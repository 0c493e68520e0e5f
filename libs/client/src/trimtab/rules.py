"""The rule set as the assignment service publishes it, and how a key and a unit become an assignment.

A *key* is an experiment's id, or the name of a model: then its live champion/challenger experiment
decides, and where there is none the champion serves without an exposure. Evaluation is pure: the client
runs it in production services, the assignment service runs it for those who ask over HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trimtab.bucketing import Range, bucket, pick, ranges

ASSIGNED: Final = "assigned"
"""The unit takes part; it must be exposed."""
OUTSIDE: Final = "outside"
"""The experiment does not cover this unit: it gets what control carries, without an exposure."""
PAUSED: Final = "paused"
"""Everybody gets what control carries while the experiment is paused."""
QUARANTINED: Final = "quarantined"
"""A variant carries a version that was rolled back elsewhere: everybody gets what control carries."""
SETTLED: Final = "settled"
"""The experiment has ended: what it ended with is served."""
CHAMPION: Final = "champion"
"""The model has no experiment now: its champion serves."""
UNKNOWN: Final = "unknown"
"""Neither an experiment nor a model of that name: use your own default."""
NOT_EXPOSED: Final = "not_exposed"
"""The unit's exposure could not be told: it gets what control carries and takes no part."""
NO_RULES: Final = "no_rules"
"""No rule set has arrived yet: use your own default."""


class BadRules(ValueError):
    """What was fetched is not a rule set; the one before stays in force."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one unit gets. Where `variant` and `model_version` are None, use your own default."""

    key: str
    variant: str | None = None
    model_version: str | None = None
    payload: Any = None
    experiment_id: str | None = None
    revision: int = 0
    """Of the experiment; 0 where none took part."""
    in_experiment: bool = False
    """True: the unit counts, and must be exposed."""
    reason: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant: what it carries."""

    key: str
    model_version: str | None
    payload: Any


@dataclass(frozen=True, slots=True)
class ExperimentRule:
    """One experiment that is live, or one that has ended and says what it ended with (`closed`)."""

    experiment_id: str
    revision: int
    control: Arm
    salt: str = ""
    arms: tuple[Arm, ...] = ()
    owned: tuple[Range, ...] = ()
    closed: str = ""
    """Why nobody takes part: `paused`, `quarantined` or `settled`. Empty: units do."""
    defers_to: str = ""
    """Of an ended champion/challenger experiment: the model whose champion serves in its stead."""


@dataclass(frozen=True, slots=True)
class ModelRule:
    """Who is in charge of a model, and the experiment in which a challenger is tried."""

    model: str
    champion: str | None
    experiment_id: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """A whole rule set. `revision` grows with every change of anything in it."""

    revision: int = 0
    experiments: Mapping[str, ExperimentRule] = field(default_factory=dict)
    models: Mapping[str, ModelRule] = field(default_factory=dict)


def parse(document: Any) -> Rules:
    """Return the rule set that a JSON document of `GET /v1/rules` holds. Raises BadRules.

    {"revision": 7, "experiments": [{"experiment_id", "revision", "closed", "salt", "coverage", "control",
    "defers_to", "variants": [{"key", "weight", "model_version", "payload"}]}],
    "models": [{"model", "champion", "experiment_id"}]}
    """
    try:
        experiments = [_experiment(each) for each in document["experiments"]]
        models = [_model(each) for each in document["models"]]
        return Rules(
            revision=int(document["revision"]),
            experiments={each.experiment_id: each for each in experiments},
            models={each.model: each for each in models},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRules(f"this is not a rule set: {type(error).__name__}: {error}") from error


def _model(document: Mapping[str, Any]) -> ModelRule:
    return ModelRule(document["model"], document["champion"], document["experiment_id"] or "")


def _experiment(document: Mapping[str, Any]) -> ExperimentRule:
    variants = document["variants"]
    arms = tuple(Arm(each["key"], each.get("model_version"), each.get("payload")) for each in variants)
    control = next((arm for arm in arms if arm.key == document["control"]), None)
    if control is None:
        raise ValueError(f"control {document['control']!r} is not a variant")
    weights = [float(each["weight"]) for each in variants]
    return ExperimentRule(
        experiment_id=document["experiment_id"],
        revision=int(document["revision"]),
        control=control,
        salt=document["salt"],
        arms=arms,
        owned=ranges(weights, float(document["coverage"])),
        closed=document["closed"],
        defers_to=document.get("defers_to") or "",
    )


def evaluate(rules: Rules, key: str, unit_id: str) -> Assignment:
    """Return what `unit_id` gets for `key`. Pure, and raises nothing: an unknown key has its reason."""
    experiment = rules.experiments.get(key)
    if experiment is not None and experiment.defers_to not in rules.models:
        return _in_experiment(experiment, key, unit_id)
    model = rules.models.get(key if experiment is None else experiment.defers_to)
    if model is None:
        return Assignment(key)
    live = rules.experiments.get(model.experiment_id)
    if live is not None:
        return _in_experiment(live, key, unit_id)
    return Assignment(key, model_version=model.champion, reason=CHAMPION)


def without_exposure(rules: Rules, assignment: Assignment) -> Assignment:
    """Return what a unit gets whose exposure cannot be told: control, and no part in the experiment."""
    rule = rules.experiments.get(assignment.experiment_id or "")
    return assignment if rule is None else _serve(rule, rule.control, assignment.key, NOT_EXPOSED)


def _in_experiment(rule: ExperimentRule, key: str, unit_id: str) -> Assignment:
    if rule.closed:
        return _serve(rule, rule.control, key, rule.closed)
    index = pick(rule.owned, bucket(rule.salt, unit_id))
    if index is None:
        return _serve(rule, rule.control, key, OUTSIDE)
    return _serve(rule, rule.arms[index], key, ASSIGNED)


def _serve(rule: ExperimentRule, arm: Arm, key: str, reason: str) -> Assignment:
    return Assignment(
        key,
        arm.key,
        arm.model_version,
        arm.payload,
        rule.experiment_id,
        rule.revision,
        reason == ASSIGNED,
        reason,
    )
