"""Stop an experiment without a decision: control serves, nothing is quarantined."""

from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order
from services.assignment.domain.life import Note, Verb, change
from services.assignment.handlers.keep_trial import after_end
from services.assignment.handlers.reading import experiment_of
from services.assignment.ports import Desk


async def stop(desk: Desk, order: Order) -> Experiment:
    """End an experiment or discard a draft. Raises NotFound, Refused when it has ended, Conflict."""
    experiment = await experiment_of(desk.store, order.experiment_id)
    after = change(experiment, Verb.STOP, Note(order.by, order.reason, desk.clock.now_ms()))
    await desk.store.save([Change(after, verdict_id=order.verdict_id)])
    await after_end(desk, after)
    return after
