"""Creating experiments and taking them through their life."""

import pytest

from libs.common.errors import Conflict, NotFound, Refused
from schemas.experiments import Policy, Rollback, Variant
from services.assignment.domain.change import Order
from services.assignment.handlers.advance import advance
from services.assignment.handlers.create import create
from services.assignment.handlers.pause import pause
from services.assignment.handlers.promote import promote
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.handlers.resume import resume
from services.assignment.handlers.roll_back import roll_back
from services.assignment.handlers.start import start
from services.assignment.handlers.stop import stop
from services.assignment.ports import MAX_LIVE, Desk
from tests.unit.assignment.make import TEMPLATE, definition, desk, order, store_of, trial


async def rollbacks(place: Desk) -> list[Rollback]:
    """Return the Rollback events that were told."""
    told = store_of(place).told
    return [Rollback.model_validate_json(each.value or b"") for each in told if each.topic == "rollbacks"]


async def test_whole_life_by_hand() -> None:
    """A person can create, start, pause, resume, advance and promote; each step is a revision."""
    place = desk()
    await create(place, definition(), by="ada")
    for step in (start, pause, resume, advance, promote):
        after = await step(place, order())
    assert (after.state, after.revision, after.stage) == ("promoted", 6, 1)
    history = await place.store.history("checkout", limit=10)
    assert [each.experiment.state for each in history] == [
        "draft", "running", "paused", "running", "running", "promoted",
    ]  # fmt: skip


async def test_create_and_start_are_one() -> None:
    """Created with start, an experiment runs; when it may not run, it is not created either."""
    place = desk()
    assert (await create(place, trial("digits-v2"), by="ada", start=True)).state == "running"
    with pytest.raises(Conflict, match="live trial"):
        await create(place, trial("digits-v3", challenger="3"), by="ada", start=True)
    assert await place.store.find("digits-v3") is None


async def test_id_is_given_once() -> None:
    """An id that is taken is a conflict that says what to do."""
    place = desk()
    await create(place, definition(), by="ada")
    with pytest.raises(Conflict) as conflict:
        await create(place, definition(), by="bob")
    assert conflict.value.next_step == "choose another id"


async def test_experiment_may_not_hide_a_model() -> None:
    """An experiment whose id is a model's name is refused: nobody could ask for the model any more."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    with pytest.raises(Refused, match="name of a model"):
        await create(place, definition("digits"), by="ada")


@pytest.mark.parametrize("step", [start, pause, resume, advance, promote, roll_back, stop])
async def test_unknown_experiment_is_not_found(step) -> None:  # type: ignore[no-untyped-def]
    """Every step of an experiment that does not exist says so, and where to look."""
    with pytest.raises(NotFound) as missing:
        await step(desk(), order())
    assert "GET /v1/experiments" in missing.value.next_step


async def test_rollback_tells_what_lost_its_traffic() -> None:
    """A rollback is told with its variants, the versions now quarantined, who decided and why."""
    place = desk()
    await create(place, trial("digits-v2"), by="ada", start=True)
    after = await roll_back(place, Order("digits-v2", "metrics", "harm", verdict_id="verdict-1"))
    (told,) = await rollbacks(place)
    assert (told.variants, told.model_versions, told.safe_variant) == (("challenger",), ("2",), "champion")
    assert (told.verdict_id, told.decided_by, told.reason) == ("verdict-1", "metrics", "harm")
    assert after.state == "rolled_back"
    record = await place.store.find_model("digits")
    assert record is not None
    assert record.quarantined == ("2",)
    assert record.serving == "1"


async def test_version_that_control_carries_is_not_quarantined() -> None:
    """Where a variant differs by its payload only, rolling it back leaves the shared version in service."""
    place = desk()
    variants = (
        Variant(key="control", model_version="1", payload=1),
        Variant(key="treatment", model_version="1", payload=2),
    )
    await create(place, definition(model="digits", variants=variants), by="ada", start=True)
    await roll_back(place, order())
    (told,) = await rollbacks(place)
    assert told.model_versions == ()


async def test_stop_quarantines_nothing() -> None:
    """Stopping ends an experiment without a verdict on its versions."""
    place = desk()
    await create(place, trial("digits-v2"), by="ada", start=True)
    await stop(place, order("digits-v2"))
    record = await place.store.find_model("digits")
    assert record is not None
    assert record.quarantined == ()
    assert await rollbacks(place) == []


async def test_quarantined_version_does_not_start() -> None:
    """A version that was rolled back once is refused wherever it turns up again."""
    place = desk()
    await create(place, trial("digits-v2"), by="ada", start=True)
    await roll_back(place, order("digits-v2"))
    with pytest.raises(Refused, match="rolled back"):
        await create(place, trial("digits-again"), by="ada", start=True)


async def test_trial_needs_the_champion_as_control() -> None:
    """A trial against a version that is not the champion is refused."""
    place = desk()
    await create(place, trial("digits-v2"), by="ada", start=True)
    await promote(place, order("digits-v2"))
    with pytest.raises(Refused) as refusal:
        await create(place, trial("digits-v3", champion="1", challenger="3"), by="ada", start=True)
    assert refusal.value.field == "control"


async def test_promotion_among_several_names_one() -> None:
    """With several variants a promotion must name one; control cannot be promoted."""
    place = desk()
    variants = tuple(Variant(key=key) for key in ("control", "red", "green"))
    await create(place, definition(variants=variants, policy=Policy(ramp=())), by="ada", start=True)
    for key in (None, "control", "blue"):
        with pytest.raises(Refused) as refusal:
            await promote(place, order(variant=key))
        assert refusal.value.next_step == "name one of: red, green"
    assert (await promote(place, order(variant="green"))).state == "promoted"
    assert (await place.store.snapshot()).ended[0].promoted_variant == "green"


async def test_number_of_live_experiments_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit of live experiments no other starts."""
    place = desk()

    async def full() -> int:
        return MAX_LIVE

    monkeypatch.setattr(store_of(place), "live_count", full)
    with pytest.raises(Refused, match="limit"):
        await create(place, definition(), by="ada", start=True)
