"""Answer what a unit gets, for those who ask over HTTP: no exposure, no treatment."""

from libs.common.errors import Retryable
from libs.common.ids import derived_id
from schemas.experiments import DAY_MS
from schemas.facts import Exposure
from services.assignment.ports import Desk, Exposures
from trimtab.assignments import Assignment
from trimtab.evaluation import evaluate, without_exposure
from trimtab.rules import Rules


async def assign(desk: Desk, exposures: Exposures, rules: Rules, *, key: str, unit_id: str) -> Assignment:
    """Return the unit's assignment, its exposure acknowledged by the bus before this returns.

    The exposure's id depends on experiment, unit, variant and day: asking again is the same event again.
    When the bus does not take the exposure, the unit gets control and takes no part; `reason` says so.
    """
    assignment = evaluate(rules, key, unit_id)
    if not assignment.in_experiment or assignment.experiment_id is None or assignment.variant is None:
        return assignment
    experiment_id, variant, now_ms = assignment.experiment_id, assignment.variant, desk.clock.now_ms()
    exposure = Exposure(
        event_id=derived_id("exposure", experiment_id, unit_id, variant, now_ms // DAY_MS),
        occurred_at_ms=now_ms,
        unit_id=unit_id,
        experiment_id=experiment_id,
        variant=variant,
        revision=assignment.revision,
    )
    try:
        await exposures.publish(exposure)
    except Retryable:
        return without_exposure(rules, assignment)
    return assignment
