"""Open the trial of a model's challenger, as soon as everything for it is there."""

from collections.abc import Sequence

from libs.common.errors import Conflict, Refused
from services.assignment.domain.change import Change
from services.assignment.domain.life import Note, draft
from services.assignment.domain.trial import trial_id, trial_of, why_no_trial
from services.assignment.handlers.checked import save_checked
from services.assignment.handlers.reading import record_of
from services.assignment.handlers.start import started
from services.assignment.ports import Desk

DECIDED_BY = "assignment"


async def open_trial(desk: Desk, model: str) -> str:
    """Start the challenger's trial if it can be had now. Returns "" when it did, else why not.

    To be called whenever one of its conditions may have come true; calling it again does no harm.
    """
    record = await record_of(desk.store, model)
    why_not = await why_waiting(desk, model)
    template, champion, challenger = record.template, record.serving, record.challenger
    if why_not or template is None or champion is None or challenger is None:
        return why_not
    note = Note(DECIDED_BY, f"challenger {challenger} against champion {champion}", desk.clock.now_ms())
    first = Change(draft(trial_of(model, champion, challenger, template), note))

    async def prepare() -> Sequence[Change]:
        return [first, await started(desk, first.experiment, note)]

    try:
        await save_checked(desk, prepare)
    except (Conflict, Refused) as error:
        # Conflict: somebody else was faster. Whoever ends a trial, or tells of the model, tries again.
        return error.message
    return ""


async def why_waiting(desk: Desk, model: str) -> str:
    """Return why the model's challenger gets no trial now; "" when it could."""
    record = await record_of(desk.store, model)
    tried = record.challenger is not None and bool(await desk.store.find(trial_id(model, record.challenger)))
    live = await desk.store.live_trial(model)
    return why_no_trial(record, tried=tried, live_id=live.experiment_id if live else None)
