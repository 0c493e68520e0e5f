"""Note that a rollback is in force: exposures have shown that nobody meets what lost its traffic."""

from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order
from services.assignment.domain.life import Note, Verb, change
from services.assignment.handlers.reading import experiment_of
from services.assignment.ports import Desk


async def verify_rollback(desk: Desk, order: Order) -> Experiment:
    """Set when the rollback was verified; the state stays. Raises NotFound, Conflict, and Refused when it
    was not rolled back, or was verified before."""
    experiment = await experiment_of(desk.store, order.experiment_id)
    after = change(experiment, Verb.VERIFY, Note(order.by, order.reason, desk.clock.now_ms()))
    await desk.store.save([Change(after, verdict_id=order.verdict_id)])
    return after
