"""How a key and a unit become an assignment. Pure: the client runs it in production services, the
assignment service runs it for those who ask over HTTP.

A *key* is an experiment's id, or the name of a model: then its live champion/challenger experiment
decides, and where there is none the champion serves without an exposure.

The first that applies decides:

1. the experiment is closed (paused, quarantined, settled, unsupported): control, for everybody;
2. the unit is forced: that variant, and it does not count;
3. the unit was given a variant since `sticky_since`: that variant again;
4. the unit belongs to the holdout: control;
5. another part of the exclusion group owns the unit: control;
6. the unit's attributes do not fulfil the targeting: control;
7. the unit's place lies in a variant's range: that variant; else control.

A unit's id is a string, any string: `7` and `"7"` are not the same unit, so what is no string gets reason
`bad_unit` and no variant rather than a guess. (Ids that no event can carry are refused before this: by the
client's `assign` and by the service's routes.)
"""

from collections.abc import Mapping
from typing import Any, Final

from trimtab.assignments import BAD_UNIT, NOT_EXPOSED, Assignment
from trimtab.plans import Recall, plan_of, serve
from trimtab.rules import Rules

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

    `recall` is asked only of experiments whose units are sticky; what it raises passes through.
    """
    if not isinstance(unit_id, str):
        return Assignment(key, reason=BAD_UNIT)  # type: ignore[unreachable]  # by callers without types
    plan = rules.plans.get(key)
    if plan is None:
        plan = plan_of(rules, key)
        if plan is None:
            return Assignment(key)
        rules.plans[key] = plan  # as many as there are keys; two threads would write the same
    return plan.of(unit_id, attributes, recall)


def without_exposure(rules: Rules, assignment: Assignment) -> Assignment:
    """Return what a unit gets whose exposure cannot be told: control, and no part in the experiment."""
    rule = rules.experiments.get(assignment.experiment_id or "")
    return assignment if rule is None else serve(rule, rule.control, assignment.key, NOT_EXPOSED)
