"""How a key and a unit become an assignment. Pure: the client runs it in production services, the
assignment service runs it for those who ask over HTTP.

A *key* is an experiment's id, or the name of a model: then its live champion/challenger experiment
decides, and where there is none the champion serves without an exposure.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trimtab.assignments import (
    ASSIGNED,
    CHAMPION,
    EXCLUDED,
    FLAG,
    FORCED,
    HELD_OUT,
    NOT_EXPOSED,
    NOT_TARGETED,
    OUTSIDE,
    SHADOW,
    Assignment,
)
from trimtab.bucketing import bucket_of, pick
from trimtab.rules import Arm, ExperimentRule, Rules, Share

Recall = Callable[[str, str], tuple[str, int] | None]
"""From an experiment's id and a unit's to the variant that the unit was given and the revision then."""

NO_ATTRIBUTES: Final[Mapping[str, Any]] = {}


def recall_nothing(_: str, __: str) -> None:
    """Remember no unit."""
    return


def evaluate(
    rules: Rules,
    key: str,
    unit_id: str,
    attributes: Mapping[str, Any] = NO_ATTRIBUTES,
    recall: Recall = recall_nothing,
) -> Assignment:
    """Return what `unit_id` gets for `key`. Pure, and raises nothing: an unknown key has its reason.

    `recall` is asked only of experiments whose units are sticky.
    """
    experiment = rules.experiments.get(key)
    if experiment is not None and experiment.defers_to not in rules.models:
        return _in_experiment(experiment, key, unit_id, attributes, recall)
    model = rules.models.get(key if experiment is None else experiment.defers_to)
    if model is None:
        return Assignment(key)
    live = rules.experiments.get(model.experiment_id)
    if live is not None:
        return _in_experiment(live, key, unit_id, attributes, recall)
    return Assignment(key, model_version=model.champion, reason=CHAMPION, value=model.champion)


def without_exposure(rules: Rules, assignment: Assignment) -> Assignment:
    """Return what a unit gets whose exposure cannot be told: control, and no part in the experiment."""
    rule = rules.experiments.get(assignment.experiment_id or "")
    return assignment if rule is None else _serve(rule, rule.control, assignment.key, NOT_EXPOSED)


def _in_experiment(
    rule: ExperimentRule, key: str, unit_id: str, attributes: Mapping[str, Any], recall: Recall
) -> Assignment:
    if rule.closed:
        return _serve(rule, rule.control, key, rule.closed)
    forced = rule.forced.get(unit_id) if rule.forced else None
    if forced is not None:
        return _serve(rule, forced, key, FORCED)
    if rule.sticky_since:
        kept = _kept(rule, recall(rule.experiment_id, unit_id))
        if kept is not None:
            return _serve(rule, kept, key, ASSIGNED)
    why_not = _why_not(rule, unit_id, attributes)
    if why_not:
        return _serve(rule, rule.control, key, why_not)
    index = pick(rule.owned, bucket_of(rule.hashing, rule.salt, unit_id))
    if index is None:
        return _serve(rule, rule.control, key, OUTSIDE)
    if rule.shadow:
        return _serve(rule, rule.control, key, SHADOW)
    return _serve(rule, rule.arms[index], key, ASSIGNED if rule.exposes else FLAG)


def _kept(rule: ExperimentRule, known: tuple[str, int] | None) -> Arm | None:
    if known is None or known[1] < rule.sticky_since:
        return None
    return rule.by_key.get(known[0])


def _why_not(rule: ExperimentRule, unit_id: str, attributes: Mapping[str, Any]) -> str:
    """Return why the unit may not take part; "" when it may."""
    if rule.holdout is not None and _within(rule.holdout, rule, unit_id):
        return HELD_OUT
    if rule.exclusion is not None and not _within(rule.exclusion, rule, unit_id):
        return EXCLUDED
    if rule.targeting is not None and not rule.targeting(attributes):
        return NOT_TARGETED
    return ""


def _within(share: Share, rule: ExperimentRule, unit_id: str) -> bool:
    return share.start <= bucket_of(rule.hashing, share.salt, unit_id) < share.end


def _serve(rule: ExperimentRule, arm: Arm, key: str, reason: str) -> Assignment:
    shadows = tuple(each.key for each in rule.arms if each is not rule.control) if reason == SHADOW else ()
    return Assignment(
        key,
        arm.key,
        arm.model_version,
        arm.payload,
        rule.experiment_id,
        rule.revision,
        reason == ASSIGNED,
        reason,
        arm.value,
        shadows,
        rule.attributes,
    )
