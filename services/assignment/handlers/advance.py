"""Take an experiment to the next stage of its ramp."""

from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order
from services.assignment.domain.life import Note, Verb, change
from services.assignment.handlers.reading import experiment_of
from services.assignment.ports import Desk


async def advance(desk: Desk, order: Order) -> Experiment:
    """Raise the coverage to the next stage's; nobody is moved. Raises NotFound, Conflict, and Refused when
    it does not run or is at its last stage."""
    experiment = await experiment_of(desk.store, order.experiment_id)
    after = change(experiment, Verb.ADVANCE, Note(order.by, order.reason, desk.clock.now_ms()))
    await desk.store.save([Change(after, verdict_id=order.verdict_id)])
    return after
