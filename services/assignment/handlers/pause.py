"""Pause an experiment: everybody gets what control carries until it is resumed."""

from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order
from services.assignment.domain.life import Note, Verb, change
from services.assignment.handlers.reading import experiment_of
from services.assignment.ports import Desk


async def pause(desk: Desk, order: Order) -> Experiment:
    """Pause a running experiment. Raises NotFound, Refused, Conflict."""
    experiment = await experiment_of(desk.store, order.experiment_id)
    after = change(experiment, Verb.PAUSE, Note(order.by, order.reason, desk.clock.now_ms()))
    await desk.store.save([Change(after)])
    return after
