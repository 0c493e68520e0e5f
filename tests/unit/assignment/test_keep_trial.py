"""A model's trial in step with the model: what is outdated ends, what is due begins, failures or not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from libs.common.errors import Conflict, Retryable
from libs.common.lifecycle import Stop
from schemas.experiments import Experiment, ExperimentState, Policy, Variant
from services.assignment.domain.change import Order
from services.assignment.entrypoints.upkeep import keep_trials
from services.assignment.handlers.create import create
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.promote import promote
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.handlers.roll_back import roll_back
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk
from tests.unit.assignment.make import TEMPLATE, definition, desk, model_state, order, store_of

DEADLINE_S = 10
Step = Callable[[Desk, Order], Awaitable[Experiment]]


async def in_trial() -> Desk:
    """Return a desk with version 2 in trial against version 1."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    await follow_model(place, model_state(1, challenger="2"))
    return place


async def beside(place: Desk, control: str, treatment: str) -> None:
    """Start an A/B experiment on two versions of the model."""
    variants = (
        Variant(key="control", model_version=control),
        Variant(key="treatment", model_version=treatment),
    )
    await create(
        place, definition(model="digits", variants=variants, policy=Policy(ramp=())), by="ada", start=True
    )


async def found(place: Desk, experiment_id: str) -> Experiment:
    """Return an experiment as it stands."""
    experiment = await place.store.find(experiment_id)
    assert experiment is not None
    return experiment


async def live_id(place: Desk) -> str | None:
    """Return the id of the model's live trial."""
    live = await place.store.live_trial("digits")
    return live.experiment_id if live else None


async def until_tried(place: Desk, experiment_id: str) -> None:
    """Wait for a trial."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await place.store.find(experiment_id) is not None:
                return
            await asyncio.sleep(0.002)


def fails_once(monkeypatch: pytest.MonkeyPatch, place: Desk, method: str, error: Exception) -> None:
    """Let the next call of a method of the store fail, and those after it succeed."""
    store = store_of(place)
    real = getattr(store, method)
    errors = [error]

    async def failing(*args: Any, **kwargs: Any) -> Any:
        if errors:
            raise errors.pop()
        return await real(*args, **kwargs)

    monkeypatch.setattr(store, method, failing)


async def test_trial_of_a_version_that_models_quarantines_is_stopped() -> None:
    """When `models` says that the challenger on trial is in quarantine, its trial ends, the next begins."""
    place = await in_trial()
    await follow_model(place, model_state(2, challenger="3", quarantined=["2"]))
    stopped = await found(place, "digits-v2")
    assert (stopped.state, stopped.changed_by) == ("stopped", "assignment")
    assert "version 2 of digits was rolled back elsewhere" in stopped.reason
    assert await live_id(place) == "digits-v3"


async def test_trial_of_a_version_rolled_back_beside_it_is_stopped() -> None:
    """When another experiment rolls the challenger back, its trial ends before `models` says anything."""
    place = await in_trial()
    await beside(place, "1", "2")
    await roll_back(place, order())
    assert (await found(place, "digits-v2")).state == "stopped"
    await follow_model(place, model_state(2, challenger="3", quarantined=["2"]))
    assert await live_id(place) == "digits-v3"


async def test_trial_against_a_version_rolled_back_beside_it_is_stopped() -> None:
    """When the champion on trial is rolled back in another experiment, the former champion is the control of
    the next trial."""
    place = await in_trial()
    await promote(place, order("digits-v2"))
    await follow_model(place, model_state(2, champion="2", challenger="3"))
    assert await live_id(place) == "digits-v3"
    await beside(place, "1", "2")
    await roll_back(place, order())
    assert (await found(place, "digits-v3")).state == "stopped"
    await follow_model(place, model_state(3, champion="2", challenger="4", quarantined=["2"]))
    assert await live_id(place) == "digits-v4"
    assert (await found(place, "digits-v4")).variants[0].model_version == "1"


@pytest.mark.parametrize("error", [Conflict("somebody was faster"), Retryable("the database went away")])
async def test_outdated_trial_is_stopped_at_the_second_attempt(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """When stopping the outdated trial fails after the champion is kept, the same state heard again stops it,
    and the next challenger has its turn."""
    place = await in_trial()
    state = model_state(2, champion="9", challenger="3")
    fails_once(monkeypatch, place, "save", error)
    with pytest.raises(type(error)):
        await follow_model(place, state)
    assert await live_id(place) == "digits-v2"
    assert await follow_model(place, state) == ""
    assert (await found(place, "digits-v2")).state == "stopped"
    assert await live_id(place) == "digits-v3"


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (promote, ExperimentState.PROMOTED),
        (roll_back, ExperimentState.ROLLED_BACK),
        (stop, ExperimentState.STOPPED),
    ],
)
async def test_end_that_happened_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, end: Step, state: ExperimentState
) -> None:
    """When the next trial cannot be opened, the end is answered all the same, and the next trial is opened a
    little later without anybody asking."""
    place = await in_trial()
    await follow_model(place, model_state(2, challenger="3"))
    fails_once(monkeypatch, place, "live_trial", Retryable("the database went away"))
    assert (await end(place, order("digits-v2"))).state is state
    assert await live_id(place) is None
    over = Stop()
    task = asyncio.create_task(keep_trials(place, over, interval_ms=1))
    await until_tried(place, "digits-v3")
    over.set("the test is over")
    await task


@pytest.mark.parametrize("error", [Conflict("somebody was faster"), Retryable("the database went away")])
async def test_upkeep_outlives_failures(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A conflict or an outage delays a trial that is due, and ends nothing."""
    place = desk()
    await follow_model(place, model_state(1, challenger="2"))
    record = await place.store.find_model("digits")
    assert record is not None
    await place.store.save_model(record.with_template(TEMPLATE))
    fails_once(monkeypatch, place, "live_trial", error)
    over = Stop()
    task = asyncio.create_task(keep_trials(place, over, interval_ms=1))
    await until_tried(place, "digits-v2")
    over.set("the test is over")
    await task
