"""Follow `models`: remember the champion, and try each new challenger once."""

from schemas.versions import ModelState
from services.assignment.domain.life import Note
from services.assignment.domain.quarantine import QuarantineAct, entries
from services.assignment.handlers.keep_trial import keep_trial
from services.assignment.handlers.reading import record_of
from services.assignment.ports import Desk

SAID_BY = "models"


async def follow_model(desk: Desk, state: ModelState) -> str:
    """Take in a model's state; older ones change no record. Returns "" when a trial was opened, else why not.

    A live trial is stopped when its control is the champion no longer (it would keep the old champion in
    service) or its challenger is in quarantine (it would hold up every later one). To be called again after
    a Conflict or Retryable: what was left undone is done then.
    """
    before = await record_of(desk.store, state.model)
    after = before.heard(state)
    if after is not before:
        fresh = (each for each in after.quarantined if each not in before.quarantined)
        note = Note(SAID_BY, state.reason, desk.clock.now_ms())
        log = entries(state.model, fresh, QuarantineAct.QUARANTINED, note)
        await desk.store.save_model(after, log=log)
    return await keep_trial(desk, state.model)
