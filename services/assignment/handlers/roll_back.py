"""Roll an experiment back: all traffic returns to control, and what its variants carried is quarantined."""

from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order, rollback_of
from services.assignment.domain.life import Note, Verb, change
from services.assignment.domain.model_record import ModelRecord
from services.assignment.handlers.keep_trial import after_end
from services.assignment.handlers.reading import experiment_of, record_of
from services.assignment.ports import Desk


async def roll_back(desk: Desk, order: Order) -> Experiment:
    """Roll back, legal from every live state. Raises NotFound, Refused when it is not live, Conflict.

    The state, the quarantine and the Rollback event come to be together or not at all.
    """
    experiment = await experiment_of(desk.store, order.experiment_id)
    after = change(experiment, Verb.ROLL_BACK, Note(order.by, order.reason, desk.clock.now_ms()))
    rollback = rollback_of(after, order.verdict_id)
    record: ModelRecord | None = None
    if experiment.model is not None and rollback.model_versions:
        record = (await record_of(desk.store, experiment.model)).quarantine(rollback.model_versions)
    await desk.store.save([Change(after, verdict_id=order.verdict_id, rollback=rollback, model=record)])
    await after_end(desk, after)
    return after
