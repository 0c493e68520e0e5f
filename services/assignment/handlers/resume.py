"""Resume a paused experiment where it stood."""

from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order
from services.assignment.domain.life import Note, Verb, change
from services.assignment.handlers.reading import experiment_of
from services.assignment.ports import Desk


async def resume(desk: Desk, order: Order) -> Experiment:
    """Let a paused experiment run again, at the same stage. Raises NotFound, Refused, Conflict."""
    experiment = await experiment_of(desk.store, order.experiment_id)
    after = change(experiment, Verb.RESUME, Note(order.by, order.reason, desk.clock.now_ms()))
    await desk.store.save([Change(after)])
    return after
