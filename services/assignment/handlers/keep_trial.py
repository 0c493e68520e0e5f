"""Keep a model's trial in step with what is known of the model."""

import logging

from libs.common.errors import Conflict, Retryable
from schemas.experiments import Experiment
from services.assignment.domain.change import Change
from services.assignment.domain.life import ENDED, Note, Verb, change
from services.assignment.domain.trial import why_no_trial, why_outdated
from services.assignment.handlers.open_trial import DECIDED_BY, open_trial
from services.assignment.handlers.reading import record_of
from services.assignment.ports import Desk

log = logging.getLogger(__name__)


async def keep_trial(desk: Desk, model: str) -> str:
    """Stop a live trial that has lost its meaning, then open the challenger's if it can be had now.

    Returns "" when a trial was opened, else why not. Calling it again does no harm, and makes up for what a
    call that failed half-way left undone. Raises Conflict when the trial changes meanwhile, Retryable.
    """
    # The trial first: a record read after it is never older than the champion that the trial began against.
    live = await desk.store.live_trial(model)
    why = why_outdated(await record_of(desk.store, model), live) if live is not None else ""
    if live is not None and why:
        await desk.store.save([Change(change(live, Verb.STOP, Note(DECIDED_BY, why, desk.clock.now_ms())))])
    return await open_trial(desk, model)


async def after_end(desk: Desk, experiment: Experiment) -> None:
    """Let the next challenger of the model have its turn, now that this experiment has ended.

    What cannot be done now is logged and left to `open_due_trials`: the end itself has happened, and whoever
    asked for it must not be told that it failed.
    """
    if experiment.model is None or experiment.state not in ENDED:
        return
    try:
        await keep_trial(desk, experiment.model)
    except (Retryable, Conflict) as error:
        log.warning("the next trial of %s waits: %s", experiment.model, error.message)


async def open_due_trials(desk: Desk) -> int:
    """Keep the trial of every model whose challenger waits for one. Returns how many were opened.

    A model whose trial changes meanwhile is left for the next time. Raises Retryable.
    """
    opened = 0
    for record in await desk.store.models():
        if why_no_trial(record, tried=False, live_id=None):
            continue
        try:
            opened += await keep_trial(desk, record.model) == ""
        except Conflict as error:
            log.info("the trial of %s: %s", record.model, error.message)
    return opened
