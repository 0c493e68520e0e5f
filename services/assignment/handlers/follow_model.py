"""Follow `models`: remember the champion, and try each new challenger once."""

from schemas.experiments import Experiment
from schemas.versions import ModelState
from services.assignment.domain.change import Order
from services.assignment.handlers.open_trial import DECIDED_BY, open_trial
from services.assignment.handlers.reading import record_of
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk


async def follow_model(desk: Desk, state: ModelState) -> str:
    """Take in a model's state; older ones change nothing. Returns "" when a trial was opened, else why not.

    A live trial against a version that is the champion no longer is stopped: its comparison has lost its
    meaning, and it would keep the old champion in service.
    """
    before = await record_of(desk.store, state.model)
    after = before.heard(state)
    if after is not before:
        await desk.store.save_model(after)
    live = await desk.store.live_trial(state.model)
    if live is not None and after.serving != before.serving and _control_version(live) != after.serving:
        reason = f"the champion of {state.model} changed from {before.serving} to {after.serving}"
        await stop(desk, Order(live.experiment_id, DECIDED_BY, reason))
    return await open_trial(desk, state.model)


def _control_version(experiment: Experiment) -> str | None:
    return experiment.variant(experiment.control).model_version
