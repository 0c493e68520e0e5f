"""The rule set as GrowthBook's SDKs read it: one feature for each experiment and model that they can.

What the SDKs do with it is what `trimtab.evaluation.evaluate` does, to the last unit: the hash is the same,
and the buckets are ours (`ranges`), so that no SDK computes them by arithmetic of its own. Attribute `id` is
the unit's id, a string.

Left out are experiments hashed by SHA-256 whose units get different things: no SDK knows that hash. The SDK
then takes the caller's own fallback, as for every unknown feature. Control for everybody would be worse:
units that another client gives the treatment would meet two variants, and their results would be of neither.
Where all units get the same (paused, ended, shadow) the hash does not matter, and the feature is there.

Where units are sticky, an SDK with a sticky bucket service keeps them as we do: `bucketVersion` is the
revision since which they are remembered. Without such a service an SDK moves units when weights change: give
it one where there are bandits. One difference remains: growthbook for Python asks the targeting first, so a
kept unit whose attributes change leaves the experiment there.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from services.assignment.domain.growthbook_conditions import Json, spelled_out
from trimtab.rules import ExperimentRule, ModelRule, Rules

HASH_ATTRIBUTE = "id"
HASH_VERSION = 2


def features(rules: Rules, targeting: Mapping[str, Mapping[str, Any]]) -> dict[str, Json]:
    """Return the features by their keys: experiments' ids and models' names, as `evaluate` has it.

    `targeting`: the condition of each experiment, as written, by its id.
    """
    found: dict[str, Json] = {}
    for key in (*rules.models, *rules.experiments):
        rule = _deciding(rules, key)
        if isinstance(rule, ModelRule):
            if rule.champion is not None:
                found[key] = {"defaultValue": rule.champion}
        elif rule is not None and _evaluable(rule):
            found[key] = _feature(rule, targeting.get(rule.experiment_id) or {})
    return found


def _deciding(rules: Rules, key: str) -> ExperimentRule | ModelRule | None:
    """Return the rule that `evaluate` goes by for a key: an experiment's, or that of a model without one."""
    experiment = rules.experiments.get(key)
    if experiment is not None and experiment.defers_to not in rules.models:
        return experiment
    model = rules.models.get(key if experiment is None else experiment.defers_to)
    return model if model is None else rules.experiments.get(model.experiment_id, model)


def _evaluable(rule: ExperimentRule) -> bool:
    return rule.hashing == "growthbook_v2" or bool(rule.closed) or rule.shadow


def _feature(rule: ExperimentRule, targeting: Mapping[str, Any]) -> Json:
    rules: list[JsonValue] = []
    if not rule.closed:
        rules += _forced(rule)
        if not rule.shadow:
            rules += [_experiment(rule, targeting)] if rule.exposes else _rollouts(rule, targeting)
    feature: Json = {"defaultValue": rule.control.value}
    return feature | {"rules": rules} if rules else feature


def _forced(rule: ExperimentRule) -> list[Json]:
    """Return a rule for each variant that is forced on units. Forced values are never tracked."""
    units: dict[str, list[JsonValue]] = {}
    for unit_id, arm in rule.forced.items():
        units.setdefault(arm.key, []).append(unit_id)
    values = {arm.key: arm.value for arm in rule.arms}
    return [
        {
            "id": f"forced-{key}",
            "condition": {HASH_ATTRIBUTE: {"$in": unit_ids}},
            "force": values[key],
        }
        for key, unit_ids in units.items()
    ]


def _experiment(rule: ExperimentRule, targeting: Mapping[str, Any]) -> Json:
    found: Json = {
        "id": rule.experiment_id,
        "key": rule.experiment_id,
        "seed": rule.salt,
        "hashAttribute": HASH_ATTRIBUTE,
        "hashVersion": HASH_VERSION,
        "variations": [arm.value for arm in rule.arms],
        # Without it a variant's key is its index, in `trackingCallback` and in sticky buckets.
        "meta": [{"key": arm.key} for arm in rule.arms],
        "ranges": [[low, high] for low, high in rule.owned],
        # Comes back with the tracked exposure: the revision that the assignment followed.
        "phase": str(rule.revision),
        **_shares(rule),
        **_who(rule, targeting),
    }
    if rule.sticky_since:
        return found | {"bucketVersion": rule.sticky_since}
    return found | {"disableStickyBucketing": True}


def _rollouts(rule: ExperimentRule, targeting: Mapping[str, Any]) -> list[Json]:
    """Return a flag's rules, one for each variant that owns units: forced, so that nothing is tracked."""
    return [
        {
            "id": arm.key,
            "seed": rule.salt,
            "hashAttribute": HASH_ATTRIBUTE,
            "hashVersion": HASH_VERSION,
            "range": [low, high],
            "force": arm.value,
            **_who(rule, targeting),
        }
        for arm, (low, high) in zip(rule.arms, rule.owned, strict=True)
        if low < high
    ]


def _shares(rule: ExperimentRule) -> Json:
    """Return weights and coverage, for people and for SDKs that report them: `ranges` decide."""
    widths = [high - low for low, high in rule.owned]
    coverage = min(1.0, sum(widths))
    if coverage <= 0.0:
        return {"coverage": 0.0}
    return {"coverage": coverage, "weights": [width / sum(widths) for width in widths]}


def _who(rule: ExperimentRule, targeting: Mapping[str, Any]) -> Json:
    """Return the condition, and the filters of holdout and exclusion group, where there are any."""
    filters: list[JsonValue] = []
    if rule.holdout is not None:
        filters.append(_filter(rule.holdout.salt, rule.holdout.end, 1.0))
    if rule.exclusion is not None:
        filters.append(_filter(rule.exclusion.salt, rule.exclusion.start, rule.exclusion.end))
    found: Json = {"filters": filters} if filters else {}
    return found | {"condition": spelled_out(targeting)} if targeting else found


def _filter(salt: str, start: float, end: float) -> Json:
    return {
        "seed": salt,
        "ranges": [[start, end]],
        "hashVersion": HASH_VERSION,
        "attribute": HASH_ATTRIBUTE,
    }
