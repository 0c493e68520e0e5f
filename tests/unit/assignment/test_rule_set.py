"""The rule set as clients will evaluate it."""

from collections.abc import Awaitable, Callable

import pytest

from libs.common.errors import Retryable
from schemas.experiments import Experiment, Policy, Variant
from services.assignment.domain.change import Order
from services.assignment.domain.growthbook import features
from services.assignment.domain.rule_set import rule_set
from services.assignment.handlers.create import create
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.pause import pause
from services.assignment.handlers.promote import promote
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.handlers.roll_back import roll_back
from services.assignment.ports import Desk
from tests.unit.assignment.make import TEMPLATE, definition, desk, model_state, order, store_of
from trimtab.evaluation import evaluate
from trimtab.rules import Rules, parse

UNITS = tuple(f"user-{number}" for number in range(300))


async def rules(place: Desk) -> Rules:
    """Return the rules as a client reads them."""
    return parse(rule_set(await place.store.snapshot()))


async def versions(place: Desk, key: str) -> set[str | None]:
    """Return the versions that units get."""
    now = await rules(place)
    return {evaluate(now, key, unit).model_version for unit in UNITS}


async def in_trial() -> Desk:
    """Return a desk with version 2 in trial against version 1."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    await follow_model(place, model_state(1, challenger="2"))
    return place


async def test_draft_is_not_published() -> None:
    """A draft is unknown to clients until it starts."""
    place = desk()
    await create(place, definition(), by="ada")
    assert evaluate(await rules(place), "checkout", "user-1").reason == "unknown"


async def test_trial_gets_its_share() -> None:
    """At the first stage about a tenth of the units gets the challenger, and as many count as control."""
    place = await in_trial()
    now = await rules(place)
    found = [evaluate(now, "digits", f"user-{number}") for number in range(5_000)]
    for variant in ("champion", "challenger"):
        share = sum(each.in_experiment and each.variant == variant for each in found) / len(found)
        assert abs(share - 0.1) < 0.02
    assert {each.model_version for each in found if not each.in_experiment} == {"1"}


async def test_rolled_back_version_is_gone_from_the_rules() -> None:
    """After a rollback nobody gets the version, by the model's name or by the experiment's id, and no rule
    mentions it."""
    place = await in_trial()
    await roll_back(place, order("digits-v2"))
    assert await versions(place, "digits") == {"1"}
    assert await versions(place, "digits-v2") == {"1"}
    assert '"2"' not in str(rule_set(await place.store.snapshot())).replace("'", '"')


async def test_promoted_version_serves_all_at_once() -> None:
    """Right after a promotion everybody gets the promoted version, before and after `models` confirms."""
    place = await in_trial()
    await promote(place, order("digits-v2"))
    for state in (model_state(2, challenger="2"), model_state(3, champion="2")):
        assert await versions(place, "digits") == {"2"}
        assert await versions(place, "digits-v2") == {"2"}
        await follow_model(place, state)
    assert await versions(place, "digits") == {"2"}


async def test_paused_trial_serves_the_champion() -> None:
    """While the trial is paused everybody gets the champion and nobody takes part."""
    place = await in_trial()
    await pause(place, order("digits-v2"))
    assert await versions(place, "digits") == {"1"}


async def test_ended_experiment_serves_its_outcome() -> None:
    """Asked by its id, a promoted A/B experiment gives the winner's payload; a rolled back one control's."""
    for step, payload in ((promote, "green"), (roll_back, "blue")):
        place = desk()
        await create(place, definition(), by="ada", start=True)
        await step(place, order())
        answer = evaluate(await rules(place), "checkout", "user-1")
        assert (answer.payload, answer.in_experiment, answer.reason) == (payload, False, "settled")


@pytest.mark.parametrize("end", [promote, roll_back])
async def test_the_end_changes_no_values_meaning(end: Callable[[Desk, Order], Awaitable[Experiment]]) -> None:
    """Where only one variant has a version, values are variants' keys; also when the others are gone."""
    place = desk()
    variants = (Variant(key="control"), Variant(key="treatment", model_version="7"))
    await create(place, definition(variants=variants), by="ada", start=True)
    await end(place, order())
    now = await rules(place)
    serves = "treatment" if end is promote else "control"
    assert evaluate(now, "checkout", "u").value == serves
    assert features(now, {})["checkout"]["defaultValue"] == serves


async def test_version_rolled_back_elsewhere_is_withdrawn() -> None:
    """When a version is rolled back in one experiment, every other that carries it serves control."""
    place = await in_trial()
    variants = (Variant(key="control", model_version="1"), Variant(key="treatment", model_version="2"))
    policy = Policy(ramp=())
    other = definition(model="digits", variants=variants, policy=policy)
    await create(place, other, by="ada", start=True)
    assert await versions(place, "checkout") == {"1", "2"}
    await roll_back(place, order("digits-v2"))
    assert await versions(place, "checkout") == {"1"}
    assert evaluate(await rules(place), "checkout", "user-1").reason == "quarantined"


async def test_reader_builds_only_what_changed() -> None:
    """The same revision is the same rule set; a change gives another, with another tag."""
    place = await in_trial()
    reader = RulesReader(place.store)
    first = await reader.current()
    assert await reader.current() is first
    await roll_back(place, order("digits-v2"))
    second = await reader.current()
    assert second.etag != first.etag
    assert second.rules.revision > first.rules.revision


async def test_reader_outlives_the_database() -> None:
    """While the store is down the last rules stay in force; without any there is a Retryable error."""
    place = await in_trial()
    reader = RulesReader(place.store)
    first = await reader.current()
    store_of(place).down = True
    assert await reader.current() is first
    with pytest.raises(Retryable):
        await RulesReader(place.store).current()


async def test_winner_rolled_back_later_is_withdrawn() -> None:
    """A promoted A/B experiment serves control as soon as its winner's version is rolled back elsewhere."""
    place = await in_trial()
    variants = (Variant(key="control", model_version="1"), Variant(key="treatment", model_version="2"))
    for name in ("x1", "x2"):
        definition_of = definition(name, model="digits", variants=variants, policy=Policy(ramp=()))
        await create(place, definition_of, by="ada", start=True)
    await promote(place, order("x1"))
    assert await versions(place, "x1") == {"2"}
    await roll_back(place, order("x2"))
    assert await versions(place, "x1") == {"1"}
    assert evaluate(await rules(place), "x1", "user-1").reason == "quarantined"
    assert '"2"' not in str(rule_set(await place.store.snapshot())).replace("'", '"')


@pytest.mark.parametrize("confirmed", [False, True])
async def test_champion_rolled_back_later_is_withdrawn(confirmed: bool) -> None:
    """A promoted version that another experiment rolls back leaves the model to the champion before it, and
    `models` confirming promotion and quarantine does not bring it back."""
    place = await in_trial()
    variants = (Variant(key="control", model_version="1"), Variant(key="treatment", model_version="2"))
    other = definition("x2", model="digits", variants=variants, policy=Policy(ramp=()))
    await create(place, other, by="ada", start=True)
    await promote(place, order("digits-v2"))
    if confirmed:
        await follow_model(place, model_state(2, champion="2"))
    assert await versions(place, "digits") == {"2"}
    await roll_back(place, order("x2"))
    assert await versions(place, "digits") == {"1"}
    for state in (model_state(3, champion="2"), model_state(4, champion="2", quarantined=["2"])):
        await follow_model(place, state)
        assert await versions(place, "digits") == {"1"}
        assert await versions(place, "digits-v2") == {"1"}
