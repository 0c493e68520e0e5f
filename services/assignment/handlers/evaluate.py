"""Answer what a unit gets, for those who ask over HTTP: no exposure, no treatment."""

from libs.common.errors import Retryable
from libs.common.ids import new_id
from schemas.facts import Exposure
from services.assignment.ports import Desk, Exposures
from trimtab.rules import Assignment, Rules, evaluate, without_exposure


async def assign(desk: Desk, exposures: Exposures, rules: Rules, *, key: str, unit_id: str) -> Assignment:
    """Return the unit's assignment, its exposure acknowledged by the bus before this returns.

    When the bus does not take the exposure, the unit gets control and takes no part; `reason` says so.
    """
    assignment = evaluate(rules, key, unit_id)
    if not assignment.in_experiment or assignment.experiment_id is None or assignment.variant is None:
        return assignment
    exposure = Exposure(
        event_id=new_id(desk.clock),
        occurred_at_ms=desk.clock.now_ms(),
        unit_id=unit_id,
        experiment_id=assignment.experiment_id,
        variant=assignment.variant,
        revision=assignment.revision,
    )
    try:
        await exposures.publish(exposure)
    except Retryable:
        return without_exposure(rules, assignment)
    return assignment
