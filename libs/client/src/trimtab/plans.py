"""What a rule set says of one key, worked out once: then a unit's assignment is looked up, not built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab.assignments import (
    ASSIGNED,
    CHAMPION,
    EXCLUDED,
    FLAG,
    FORCED,
    HELD_OUT,
    NOT_TARGETED,
    OUTSIDE,
    SHADOW,
    Assignment,
)
from trimtab.bucketing import Place, Range, place_by
from trimtab.conditions import Condition
from trimtab.rules import Arm, ExperimentRule, ModelRule, Rules, Share

Recall = Callable[[str, str], tuple[str, int] | None]
"""From an experiment's id and a unit's to the variant that the unit was given and the revision then."""


@dataclass(slots=True)
class Controls:
    """The assignments of those who take no part."""

    held_out: Assignment
    excluded: Assignment
    not_targeted: Assignment
    outside: Assignment


@dataclass(slots=True)
class Sticky:
    """What becomes of a unit that was given a variant before."""

    experiment_id: str
    since: int
    kept: Mapping[str, Assignment]

    def of(self, known: tuple[str, int] | None) -> Assignment | None:
        """Return the assignment of a unit that keeps its variant; None for one that is as good as new."""
        return None if known is None or known[1] < self.since else self.kept.get(known[0])


@dataclass(slots=True)
class Part:
    """Units of [start, end) by a hash of their own."""

    place: Place
    start: float
    end: float

    def holds(self, unit_id: str) -> bool:
        """Tell whether the unit belongs to this part."""
        return self.start <= self.place(unit_id) < self.end


@dataclass(slots=True)
class Draw:
    """Which units may take part in an experiment, and what each of them gets."""

    controls: Controls
    place: Place
    slices: tuple[tuple[Range, Assignment], ...]
    holdout: Part | None = None
    exclusion: Part | None = None
    targeting: Condition | None = None

    def of(self, unit_id: str, attributes: Mapping[str, Any]) -> Assignment:
        """Return what a unit gets that was never given anything."""
        if self.holdout is not None and self.holdout.holds(unit_id):
            return self.controls.held_out
        if self.exclusion is not None and not self.exclusion.holds(unit_id):
            return self.controls.excluded
        if self.targeting is not None and not self.targeting(attributes):
            return self.controls.not_targeted
        place = self.place(unit_id)
        for (low, high), assignment in self.slices:
            if low <= place < high:
                return assignment
        return self.controls.outside


@dataclass(slots=True)
class Plan:
    """All that may become of a unit that asks by one key. Exactly one of `everybody` and `draw` is set."""

    everybody: Assignment | None = None
    """Of a closed experiment or a model without one: what they all get."""
    draw: Draw | None = None
    sticky: Sticky | None = None
    forced: Mapping[str, Assignment] = field(default_factory=dict)

    def of(self, unit_id: str, attributes: Mapping[str, Any], recall: Recall) -> Assignment:
        """Return what a unit gets. The order of these lines is the order of evaluation."""
        if self.draw is None:
            assert self.everybody is not None
            return self.everybody
        if self.forced and unit_id in self.forced:
            return self.forced[unit_id]
        if self.sticky is not None:
            kept = self.sticky.of(recall(self.sticky.experiment_id, unit_id))
            if kept is not None:
                return kept
        return self.draw.of(unit_id, attributes)


def plan_of(rules: Rules, key: str) -> Plan | None:
    """Return the plan of a key: an experiment's id, or a model's name. None when it is neither."""
    experiment = rules.experiments.get(key)
    if experiment is not None and experiment.defers_to not in rules.models:
        return _of_experiment(experiment, key)
    model = rules.models.get(key if experiment is None else experiment.defers_to)
    if model is None:
        return None
    live = rules.experiments.get(model.experiment_id)
    return _of_model(model, key) if live is None else _of_experiment(live, key)


def _of_model(model: ModelRule, key: str) -> Plan:
    return Plan(Assignment(key, model_version=model.champion, reason=CHAMPION, value=model.champion))


def _of_experiment(rule: ExperimentRule, key: str) -> Plan:
    if rule.closed:
        return Plan(serve(rule, rule.control, key, rule.closed))
    return Plan(
        draw=_draw(rule, key),
        sticky=_sticky(rule, key),
        forced={unit_id: serve(rule, arm, key, FORCED) for unit_id, arm in rule.forced.items()},
    )


def _sticky(rule: ExperimentRule, key: str) -> Sticky | None:
    if not rule.sticky_since or rule.shadow or not rule.exposes:  # who is not exposed was given nothing
        return None
    kept = {arm.key: serve(rule, arm, key, ASSIGNED) for arm in rule.arms}
    return Sticky(rule.experiment_id, rule.sticky_since, kept)


def _draw(rule: ExperimentRule, key: str) -> Draw:
    def control(reason: str) -> Assignment:
        return serve(rule, rule.control, key, reason)

    reason = ASSIGNED if rule.exposes else FLAG
    given = [control(SHADOW) if rule.shadow else serve(rule, arm, key, reason) for arm in rule.arms]
    return Draw(
        Controls(control(HELD_OUT), control(EXCLUDED), control(NOT_TARGETED), control(OUTSIDE)),
        place_by(rule.hashing, rule.salt),
        tuple(zip(rule.owned, given, strict=True)),
        _part(rule, rule.holdout),
        _part(rule, rule.exclusion),
        rule.targeting,
    )


def _part(rule: ExperimentRule, share: Share | None) -> Part | None:
    return None if share is None else Part(place_by(rule.hashing, share.salt), share.start, share.end)


def serve(rule: ExperimentRule, arm: Arm, key: str, reason: str) -> Assignment:
    """Return the assignment to `arm` by the key that was asked for."""
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
