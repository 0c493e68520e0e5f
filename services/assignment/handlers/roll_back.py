"""Roll an experiment back: all traffic returns to control, and what its variants carried is quarantined."""

from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order, rollback_of
from services.assignment.domain.life import Note, Verb, change
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.quarantine import QuarantineAct, QuarantineEntry, entries
from services.assignment.handlers.keep_trial import after_end
from services.assignment.handlers.reading import experiment_of, record_of
from services.assignment.ports import Desk


async def roll_back(desk: Desk, order: Order) -> Experiment:
    """Roll back, legal from every live state. Raises NotFound, Refused when it is not live, Conflict.

    The state, the quarantine and the Rollback event come to be together or not at all.
    """
    experiment = await experiment_of(desk.store, order.experiment_id)
    note = Note(order.by, order.reason, desk.clock.now_ms())
    after = change(experiment, Verb.ROLL_BACK, note)
    rollback = rollback_of(after, order.verdict_id)
    record, log = await _quarantine(desk, experiment.model, rollback.model_versions, note)
    await desk.store.save(
        [Change(after, verdict_id=order.verdict_id, rollback=rollback, model=record, quarantine=log)]
    )
    await after_end(desk, after)
    return after


async def _quarantine(
    desk: Desk, model: str | None, versions: tuple[str, ...], note: Note
) -> tuple[ModelRecord | None, tuple[QuarantineEntry, ...]]:
    if model is None or not versions:
        return None, ()
    before = await record_of(desk.store, model)
    fresh = (each for each in versions if each not in before.quarantined)
    return before.quarantine(versions), entries(model, fresh, QuarantineAct.QUARANTINED, note)
