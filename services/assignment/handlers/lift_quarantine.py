"""Take a version out of quarantine: a person answers for it."""

from services.assignment.domain.life import Note
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.quarantine import QuarantineAct, entries
from services.assignment.handlers.open_trial import open_trial
from services.assignment.handlers.reading import record_of
from services.assignment.ports import Desk


async def lift_quarantine(desk: Desk, model: str, version: str, *, by: str, reason: str) -> ModelRecord:
    """Lift it; experiments that carry the version serve it again, and a rollback puts it back.

    It holds though `models` goes on naming the version. Raises Refused when it is not in it, Conflict.
    """
    record = (await record_of(desk.store, model)).lift(version)
    note = Note(by, reason, desk.clock.now_ms())
    await desk.store.save_model(record, log=entries(model, (version,), QuarantineAct.LIFTED, note))
    await open_trial(desk, model)
    return record
