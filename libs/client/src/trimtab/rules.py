"""The rule set as the assignment service publishes it (`GET /v1/rules`), read and made ready."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from trimtab.assignments import UNSUPPORTED
from trimtab.bucketing import Hashing, Range, ranges
from trimtab.conditions import BadCondition, Condition, compile_condition

if TYPE_CHECKING:  # plans are made of rules
    from trimtab.plans import Plan

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
    """A part [start, end) of all units, by the experiment's hash and a salt of its own.

    The assignment service lets no two experiments of different hashes into one group or one holdout.
    """

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
    """Why nobody takes part: `paused`, `quarantined`, `settled` or `unsupported`. Empty: units do."""
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
    """The names of those that the unit's exposure must carry."""


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
    plans: "dict[str, Plan]" = field(default_factory=dict, init=False, repr=False, compare=False)
    """What `evaluate` has worked out, by key; the fields above must not change under it."""


def parse(document: Any) -> Rules:
    """Return the rule set that a JSON document of `GET /v1/rules` holds. Raises BadRules.

    {"revision": 7, "experiments": [{"experiment_id", "revision", "closed", "exposes", "shadow", "salt",
    "hashing", "coverage", "control", "defers_to", "variants": [{"key", "weight", "model_version",
    "payload"}], "valued", "targeting": {}, "exclusion": {"group", "start", "end"},
    "holdout": {"name", "share"}, "forced": {unit_id: variant}, "sticky_since", "attributes": []}],
    "models": [{"model", "champion", "experiment_id"}]}

    What an older service does not say yet has its default. An experiment that uses what only a newer client
    knows (a hash, an operator) is closed for all units of this one, with reason `unsupported`: all the others
    go on, and a rollback in them gets through.
    """
    try:
        experiments = [_experiment(each) for each in document["experiments"]]
        models = [_model(each) for each in document["models"]]
        return Rules(
            revision=int(document["revision"]),
            experiments={each.experiment_id: each for each in experiments},
            models={each.model: each for each in models},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadRules(f"this is not a rule set: {type(error).__name__}: {error}") from error


def _model(document: Mapping[str, Any]) -> ModelRule:
    return ModelRule(_text(document["model"]), document["champion"], _text(document["experiment_id"] or ""))


def _experiment(document: Mapping[str, Any]) -> ExperimentRule:
    variants = document["variants"]
    arms = _arms(variants, document.get("valued"))
    by_key = {arm.key: arm for arm in arms}
    if document["control"] not in by_key:
        raise ValueError(f"control {document['control']!r} is not a variant")
    hashing, targeting, unsupported = _who(document)
    return ExperimentRule(
        experiment_id=_text(document["experiment_id"]),
        revision=int(document["revision"]),
        control=by_key[document["control"]],
        salt=_text(document["salt"]),
        hashing=hashing,
        arms=arms,
        owned=ranges([float(each["weight"]) for each in variants], float(document["coverage"])),
        closed=_text(document["closed"]) or unsupported,
        defers_to=_text(document.get("defers_to") or ""),
        exposes=bool(document.get("exposes", True)),
        shadow=bool(document.get("shadow", False)),
        targeting=targeting,
        exclusion=_exclusion(document.get("exclusion")),
        holdout=_holdout(document.get("holdout")),
        forced={unit_id: by_key[key] for unit_id, key in (document.get("forced") or {}).items()},
        sticky_since=int(document.get("sticky_since") or 0),
        attributes=tuple(map(_text, document.get("attributes") or ())),
    )


def _who(document: Mapping[str, Any]) -> tuple[Hashing, Condition | None, str]:
    """Return the hash and the targeting, and `unsupported` where this client does not know one of them."""
    name = document.get("hashing") or "trimtab"
    hashing: Hashing | None = next((each for each in get_args(Hashing) if each == name), None)
    if hashing is None:
        return "trimtab", None, UNSUPPORTED
    try:
        targeting = document.get("targeting")
        return hashing, compile_condition(targeting) if targeting else None, ""
    except BadCondition:
        return hashing, None, UNSUPPORTED


def _exclusion(document: Mapping[str, Any] | None) -> Share | None:
    if document is None:
        return None
    return Share(f"group:{_text(document['group'])}", float(document["start"]), float(document["end"]))


def _holdout(document: Mapping[str, Any] | None) -> Share | None:
    if document is None:
        return None
    return Share(f"holdout:{_text(document['name'])}", 0.0, float(document["share"]))


def _arms(variants: Any, told: Any) -> tuple[Arm, ...]:
    # Told because an ended experiment comes with one variant only, of which more may be true than of all.
    valued = told if told in get_args(Valued) else valued_by(variants)
    return tuple(
        Arm(
            _text(each["key"]),
            each.get("model_version"),
            each.get("payload"),
            each["key"] if valued == "variant" else each.get(valued),
        )
        for each in variants
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.50} is not text")
    return value


def valued_by(variants: Any) -> Valued:
    """Return which part of a variant is its value: a payload or a version only where each variant has one."""
    if all(each.get("payload") is not None for each in variants):
        return "payload"
    if all(each.get("model_version") is not None for each in variants):
        return "model_version"
    return "variant"
