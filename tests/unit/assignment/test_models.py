"""Following `models`: champions, and the trials of challengers."""

from schemas.experiments import Experiment
from services.assignment.handlers.create import create
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.promote import promote
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.handlers.roll_back import roll_back
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk
from tests.unit.assignment.make import TEMPLATE, definition, desk, model_state, order, store_of


async def live(place: Desk) -> Experiment:
    """Return the model's live trial."""
    experiment = await place.store.live_trial("digits")
    assert experiment is not None
    return experiment


async def serving(place: Desk) -> str | None:
    """Return the version that serves."""
    record = await place.store.find_model("digits")
    assert record is not None
    return record.serving


async def test_challenger_is_tried_at_once() -> None:
    """With a template, a new challenger meets the champion in an experiment that runs at the first stage."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    assert await follow_model(place, model_state(1, challenger="2")) == ""
    trial = await live(place)
    assert (trial.experiment_id, trial.state, trial.coverage) == ("digits-v2", "running", 0.2)
    assert [each.model_version for each in trial.variants] == ["1", "2"]
    assert [each.key for each in store_of(place).told] == ["digits-v2", "digits-v2"]


async def test_challenger_waits_for_the_template() -> None:
    """Without a template the challenger waits, and is tried as soon as there is one."""
    place = desk()
    assert "template" in await follow_model(place, model_state(1, challenger="2"))
    assert await place.store.live_trial("digits") is None
    await put_trial_template(place, "digits", TEMPLATE)
    assert (await live(place)).experiment_id == "digits-v2"


async def test_challenger_waits_for_the_live_trial() -> None:
    """While a trial is live the next challenger waits; when it ends, however it ends, its turn has come."""
    for end in (stop, roll_back):
        place = desk()
        await put_trial_template(place, "digits", TEMPLATE)
        await follow_model(place, model_state(1, challenger="2"))
        assert "digits-v2" in await follow_model(place, model_state(2, challenger="3"))
        await end(place, order("digits-v2"))
        trial = await live(place)
        assert (trial.experiment_id, trial.variants[0].model_version) == ("digits-v3", "1")


async def test_next_trial_is_against_the_promoted() -> None:
    """After a promotion the waiting challenger meets the new champion, confirmed or not."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    await follow_model(place, model_state(1, challenger="2"))
    await follow_model(place, model_state(2, challenger="3"))
    await promote(place, order("digits-v2"))
    trial = await live(place)
    assert (trial.experiment_id, trial.variants[0].model_version) == ("digits-v3", "2")
    assert await follow_model(place, model_state(3, champion="2", challenger="3")) != ""
    assert (await live(place)).experiment_id == "digits-v3"


async def test_same_challenger_is_tried_once() -> None:
    """A challenger whose trial was stopped is not tried again, however often it is named."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    await follow_model(place, model_state(1, challenger="2"))
    await stop(place, order("digits-v2"))
    assert "had its trial" in await follow_model(place, model_state(2, challenger="2"))
    assert await place.store.live_trial("digits") is None


async def test_quarantined_challenger_is_not_tried() -> None:
    """A challenger that `models` names as quarantined gets no trial."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    assert "rolled back" in await follow_model(place, model_state(1, challenger="2", quarantined=["2"]))


async def test_replay_changes_nothing_and_opens_what_was_due() -> None:
    """States read again from the beginning change no record, but open a trial that is still due."""
    place = desk()
    state = model_state(1, challenger="2")
    await follow_model(place, state)
    record = await place.store.find_model("digits")
    assert record is not None
    # The process died between keeping the template and opening the trial.
    await place.store.save_model(record.with_template(TEMPLATE))
    assert await follow_model(place, state) == ""
    assert await follow_model(place, state) != ""
    assert (await live(place)).revision == 2


async def test_promoted_serves_before_and_after_confirmation() -> None:
    """From the promotion on the promoted version serves, through states that have not heard of it yet."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    await follow_model(place, model_state(1, challenger="2"))
    await promote(place, order("digits-v2"))
    assert await serving(place) == "2"
    await follow_model(place, model_state(2, champion="1", challenger="2"))
    assert await serving(place) == "2"
    await follow_model(place, model_state(3, champion="2"))
    assert await serving(place) == "2"


async def test_trial_against_a_former_champion_is_stopped() -> None:
    """When a person names another champion, a trial against the old one is stopped, saying why."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    await follow_model(place, model_state(1, challenger="2"))
    await follow_model(place, model_state(2, champion="9", challenger="2"))
    stopped = await place.store.find("digits-v2")
    assert stopped is not None
    assert (stopped.state, stopped.changed_by) == ("stopped", "assignment")
    assert "from 1 to 9" in stopped.reason


async def test_other_experiments_of_the_model_go_on() -> None:
    """An A/B experiment on the same model is no trial: it neither waits nor is stopped."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    await create(place, definition(model="digits"), by="ada", start=True)
    assert await follow_model(place, model_state(1, challenger="2")) == ""
    other = await place.store.find("checkout")
    assert other is not None
    assert other.live
