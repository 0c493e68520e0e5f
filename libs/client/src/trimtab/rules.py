"""The rule set as the assignment service publishes it (`GET /v1/rules`), read and made ready."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trimtab.bucketing import Hashing, Range, ranges
from trimtab.conditions import Condition, compile_condition

Valued = Literal["payload", "model_version", "variant"]


class BadRules(ValueError):
    """What was fetched is not a rule set; the one before stays in force."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant: what it carries, and its value (see `Assignment.value`)."""

    key: str
    model_version: str | None
    payload: Any
    value: Any = None


@dataclass(frozen=True, slots=True)
class Share:
    """A part [start, end) of all units, by a salt of its own."""

    salt: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class ExperimentRule:
    """One experiment that is live, or one that has ended and says what it ended with (`closed`)."""

    experiment_id: str
    revision: int
    control: Arm
    salt: str = ""
    hashing: Hashing = "trimtab"
    arms: tuple[Arm, ...] = ()
    owned: tuple[Range, ...] = ()
    closed: str = ""
    """Why nobody takes part: `paused`, `quarantined` or `settled`. Empty: units do."""
    defers_to: str = ""
    """Of an ended champion/challenger experiment: the model whose champion serves in its stead."""
    exposes: bool = True
    shadow: bool = False
    targeting: Condition | None = None
    """None: everybody."""
    exclusion: Share | None = None
    """Only these units may take part."""
    holdout: Share | None = None
    """These units may not."""
    forced: Mapping[str, Arm] = field(default_factory=dict)
    sticky_since: int = 0
    """Units keep the variant that they were given at this revision or later; 0: they do not."""
    attributes: tuple[str, ...] = ()

    @property
    def by_key(self) -> dict[str, Arm]:
        """Return the variants by their keys."""
        return {arm.key: arm for arm in self.arms}


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

    {"revision": 7, "experiments": [{"experiment_id", "revision", "closed", "exposes", "shadow", "salt",
    "hashing", "coverage", "control", "defers_to", "variants": [{"key", "weight", "model_version",
    "payload"}], "targeting": {}, "exclusion": {"group", "start", "end"}, "holdout": {"name", "share"},
    "forced": {unit_id: variant}, "sticky_since", "attributes": []}],
    "models": [{"model", "champion", "experiment_id"}]}

    What an older service does not say yet has its default.
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
    arms = _arms(variants)
    by_key = {arm.key: arm for arm in arms}
    hashing = document.get("hashing") or "trimtab"
    if hashing not in ("trimtab", "growthbook_v2"):
        raise ValueError(f"hashing {hashing!r} is unknown: install a newer client")
    if document["control"] not in by_key:
        raise ValueError(f"control {document['control']!r} is not a variant")
    weights = [float(each["weight"]) for each in variants]
    exclusion, holdout = document.get("exclusion"), document.get("holdout")
    return ExperimentRule(
        experiment_id=document["experiment_id"],
        revision=int(document["revision"]),
        control=by_key[document["control"]],
        salt=document["salt"],
        hashing=hashing,
        arms=arms,
        owned=ranges(weights, float(document["coverage"])),
        closed=document["closed"],
        defers_to=document.get("defers_to") or "",
        exposes=bool(document.get("exposes", True)),
        shadow=bool(document.get("shadow", False)),
        targeting=compile_condition(document["targeting"]) if document.get("targeting") else None,
        exclusion=Share(f"group:{exclusion['group']}", exclusion["start"], exclusion["end"])
        if exclusion
        else None,
        holdout=Share(f"holdout:{holdout['name']}", 0.0, holdout["share"]) if holdout else None,
        forced={unit_id: by_key[key] for unit_id, key in (document.get("forced") or {}).items()},
        sticky_since=int(document.get("sticky_since") or 0),
        attributes=tuple(document.get("attributes") or ()),
    )


def _arms(variants: Any) -> tuple[Arm, ...]:
    valued = valued_by(variants)
    return tuple(
        Arm(
            each["key"],
            each.get("model_version"),
            each.get("payload"),
            each["key"] if valued == "variant" else each.get(valued),
        )
        for each in variants
    )


def valued_by(variants: Any) -> Valued:
    """Return which part of a variant is its value: a payload or a version only where each variant has one."""
    if all(each.get("payload") is not None for each in variants):
        return "payload"
    if all(each.get("model_version") is not None for each in variants):
        return "model_version"
    return "variant"
