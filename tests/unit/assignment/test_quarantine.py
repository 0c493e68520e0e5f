"""Quarantine, and a person who lifts it."""

import pytest

from libs.common.errors import Refused
from schemas.experiments import Policy, Variant
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.rule_set import rule_set
from services.assignment.handlers.create import create
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.lift_quarantine import lift_quarantine
from services.assignment.handlers.promote import promote
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.handlers.roll_back import roll_back
from services.assignment.ports import Desk
from tests.unit.assignment.make import TEMPLATE, definition, desk, model_state, order, trial
from trimtab.evaluation import evaluate
from trimtab.rules import parse

VARIANTS = (Variant(key="control", model_version="1"), Variant(key="treatment", model_version="2"))


async def lift(place: Desk, version: str = "2") -> ModelRecord:
    """Lift as a person does."""
    return await lift_quarantine(place, "digits", version, by="ada", reason="the data was wrong")


async def rolled_back() -> Desk:
    """Return a desk on which version 2 was rolled back by metrics."""
    place = desk()
    await follow_model(place, model_state(1))
    await create(place, trial("digits-v2"), by="ada", start=True)
    await roll_back(place, order("digits-v2"))
    return place


async def record_of(place: Desk) -> ModelRecord:
    """Return what is known of the model."""
    record = await place.store.find_model("digits")
    assert record is not None
    return record


async def served(place: Desk, key: str) -> set[str | None]:
    """Return the versions that units get."""
    rules = parse(rule_set(await place.store.snapshot()))
    return {evaluate(rules, key, f"user-{number}").model_version for number in range(200)}


async def test_lifted_version_may_be_tried_again() -> None:
    """Refused before, an experiment with the version starts after a person has lifted its quarantine."""
    place = await rolled_back()
    again = definition("again", model="digits", variants=VARIANTS, policy=Policy(ramp=()))
    with pytest.raises(Refused, match="rolled back") as refusal:
        await create(place, again, by="ada", start=True)
    assert "quarantine/lift" in refusal.value.next_step
    await lift(place)
    assert (await create(place, again, by="ada", start=True)).state == "running"
    assert await served(place, "again") == {"1", "2"}


async def test_quarantined_version_is_no_control_either() -> None:
    """An experiment whose control carries a version in quarantine would serve it to everybody: refused, for
    a model without a champion as well."""
    place = desk()
    await follow_model(place, model_state(1, champion=None, quarantined=["1"]))
    with pytest.raises(Refused, match="version 1 of digits was rolled back"):
        await create(place, trial("digits-v2"), by="ada", start=True)
    assert await served(place, "digits") == {None}


async def test_lifting_outlives_what_models_says() -> None:
    """`models` may name the version as quarantined as often as it likes: a person has said otherwise."""
    place = await rolled_back()
    await lift(place)
    for revision in (2, 3):
        await follow_model(place, model_state(revision, quarantined=["2"]))
        record = await record_of(place)
        assert (record.quarantined, record.lifted) == ((), ("2",))


async def test_rolled_back_again_is_quarantined_again() -> None:
    """The lifting ends with the next rollback of the version."""
    place = await rolled_back()
    await lift(place)
    await create(place, trial("once-more"), by="ada", start=True)
    await roll_back(place, order("once-more"))
    record = await record_of(place)
    assert (record.quarantined, record.lifted) == (("2",), ())
    await follow_model(place, model_state(2, quarantined=["2"]))
    assert (await record_of(place)).quarantined == ("2",)


async def test_log_says_who_when_and_why() -> None:
    """Every quarantine and every lifting is an entry; naming again what is quarantined is none."""
    place = await rolled_back()
    await follow_model(place, model_state(2, quarantined=["2", "0"]))
    await lift(place)
    log = await place.store.quarantine_log("digits", limit=10)
    assert [(each.version, each.act, each.by, each.reason) for each in log] == [
        ("2", "quarantined", "ada", "because"),
        ("0", "quarantined", "models", "test"),
        ("2", "lifted", "ada", "the data was wrong"),
    ]
    assert {each.occurred_at_ms for each in log} == {place.clock.now_ms()}


async def test_what_is_not_in_quarantine_cannot_be_lifted() -> None:
    """It is refused, with what could be."""
    place = await rolled_back()
    with pytest.raises(Refused) as refusal:
        await lift(place, "7")
    assert (refusal.value.field, refusal.value.next_step) == ("version", "in quarantine: 2")


async def test_lifting_does_not_change_who_is_in_charge() -> None:
    """A promoted version that was rolled back and is lifted waits for a promotion; `models` may name it."""
    place = desk()
    await follow_model(place, model_state(1))
    other = definition("x2", model="digits", variants=VARIANTS, policy=Policy(ramp=()))
    await create(place, other, by="ada", start=True)
    await create(place, trial("digits-v2"), by="ada", start=True)
    await promote(place, order("digits-v2"))
    assert await served(place, "digits") == {"2"}
    await roll_back(place, order("x2"))
    await lift(place)
    assert await served(place, "digits") == {"1"}
    await follow_model(place, model_state(2, champion="1"))
    assert await served(place, "digits") == {"1"}
    await follow_model(place, model_state(3, champion="2"))
    assert await served(place, "digits") == {"2"}


async def test_challenger_that_waited_is_tried_when_lifted() -> None:
    """A challenger that `models` had in quarantine gets its trial as soon as a person lifts that."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    assert "rolled back" in await follow_model(place, model_state(1, challenger="2", quarantined=["2"]))
    await lift(place)
    assert await place.store.live_trial("digits") is not None
