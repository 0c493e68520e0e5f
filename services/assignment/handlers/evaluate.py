"""Answer what a unit gets, for those who ask over HTTP: no exposure, no treatment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from libs.common.clock import Clock
from libs.common.errors import Retryable
from libs.common.ids import derived_id
from schemas.experiments import DAY_MS
from schemas.facts import Exposure
from schemas.names import MAX_ATTRIBUTES, MAX_ID_CHARS, MAX_KEY_CHARS, MAX_VALUE
from services.assignment.ports import Exposures, Given, StickyUnits
from trimtab.assignments import Assignment
from trimtab.evaluation import evaluate, without_exposure
from trimtab.rules import Rules

Carried = str | bool | float


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a key, a unit (an id that events can carry), and what is known of the unit."""

    key: str
    unit_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    expose: bool = True
    """False: who asks tells the exposure, when the unit really meets the variant."""


@dataclass(frozen=True, slots=True)
class Means:
    """What an evaluation with its exposure needs."""

    clock: Clock
    exposures: Exposures
    sticky: StickyUnits


class NoStickyUnits:
    """A memory of sticky units that there is not: their experiments give control."""

    async def recall(self, unit_id: str, since: Mapping[str, int]) -> Mapping[str, Given]:
        """Raise Retryable."""
        raise Retryable("no sticky units are remembered here")

    async def remember(self, experiment_id: str, unit_id: str, given: Given, *, since: int) -> Given:
        """Raise Retryable."""
        raise Retryable("no sticky units are remembered here")

    async def forget(self, *, limit: int) -> int:
        """Forget nothing."""
        return 0


class Recollection:
    """Answers `recall` from what was fetched, and notes what was asked for in vain."""

    def __init__(self, rules: Rules, given: Mapping[str, Given]) -> None:
        self._rules = rules
        self._given = given
        self.missing: dict[str, int] = {}
        """Experiment to the revision since which it remembers."""

    def __call__(self, experiment_id: str, _: str) -> tuple[str, int] | None:
        """Return what the unit was given in an experiment."""
        given = self._given.get(experiment_id)
        if given is None:
            self.missing[experiment_id] = self._rules.experiments[experiment_id].sticky_since
        return given


async def assign(means: Means, rules: Rules, question: Question) -> Assignment:
    """Return the unit's assignment, its exposure acknowledged by the bus before this returns.

    The exposure's id depends on experiment, unit, variant and day: asking again is the same event again.
    When the bus does not take the exposure, or the memory of sticky units is away, the unit gets control and
    takes no part; `reason` says so.
    """
    recollection = Recollection(rules, {})
    assignment = evaluate(rules, question.key, question.unit_id, question.attributes, recollection)
    try:
        if recollection.missing:
            assignment = await _as_remembered(means, rules, question, recollection.missing)
        if assignment.in_experiment and question.expose:
            await means.exposures.publish(exposure_of(assignment, question, means.clock.now_ms()))
    except Retryable:
        return without_exposure(rules, assignment)
    return assignment


async def recall_all(means: Means, rules: Rules, unit_id: str) -> Mapping[str, Given] | None:
    """Return what the unit was given in each open sticky experiment; None while that cannot be had."""
    since = {
        each.experiment_id: each.sticky_since
        for each in rules.experiments.values()
        if each.sticky_since and not each.closed
    }
    try:
        return await means.sticky.recall(unit_id, since) if since else {}
    except Retryable:
        return None


def evaluate_all(
    rules: Rules, keys: Sequence[str], question: Question, given: Mapping[str, Given] | None
) -> list[Assignment]:
    """Return what the unit gets for each of the keys (the question's own is not used); nothing is exposed and
    nothing remembered. Without what was given, sticky experiments give control."""
    recollection = Recollection(rules, given or {})
    found = []
    for key in keys:
        recollection.missing.clear()
        assignment = evaluate(rules, key, question.unit_id, question.attributes, recollection)
        lost = given is None and recollection.missing
        found.append(without_exposure(rules, assignment) if lost else assignment)
    return found


async def _as_remembered(
    means: Means, rules: Rules, question: Question, since: Mapping[str, int]
) -> Assignment:
    """Evaluate with what the unit was given before; what it gets for the first time is remembered."""
    given = await means.sticky.recall(question.unit_id, since)
    assignment = _evaluated(rules, question, given)
    experiment_id, variant = assignment.experiment_id, assignment.variant
    if not assignment.in_experiment or experiment_id is None or variant is None or experiment_id in given:
        return assignment
    # Before the exposure: a unit that is remembered and was not exposed harms nothing.
    mine = Given(variant, assignment.revision)
    first = await means.sticky.remember(experiment_id, question.unit_id, mine, since=since[experiment_id])
    return assignment if first.variant == variant else _evaluated(rules, question, {experiment_id: first})


def _evaluated(rules: Rules, question: Question, given: Mapping[str, Given]) -> Assignment:
    recollection = Recollection(rules, given)
    return evaluate(rules, question.key, question.unit_id, question.attributes, recollection)


def exposure_of(assignment: Assignment, question: Question, now_ms: int) -> Exposure:
    """Return the exposure of an assignment that takes part, with the attributes that it declares.

    Raises ValueError when the assignment takes part in nothing.
    """
    experiment_id, variant = assignment.experiment_id, assignment.variant
    if experiment_id is None or variant is None:
        raise ValueError(f"nobody is exposed to {assignment.key}")
    return Exposure(
        event_id=derived_id("exposure", experiment_id, question.unit_id, variant, now_ms // DAY_MS),
        occurred_at_ms=now_ms,
        unit_id=question.unit_id,
        experiment_id=experiment_id,
        variant=variant,
        revision=assignment.revision,
        attributes=carried(question.attributes, assignment.attributes),
    )


def carried(attributes: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Carried]:
    """Return those of the named attributes that an event can carry: short texts, finite numbers, booleans."""
    found = {name: attributes[name] for name in names[:MAX_ATTRIBUTES] if name in attributes}
    return {name: value for name, value in found.items() if _fits(value) and len(name) <= MAX_KEY_CHARS}


def _fits(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID_CHARS
    return isinstance(value, int | float) and -MAX_VALUE <= value <= MAX_VALUE
