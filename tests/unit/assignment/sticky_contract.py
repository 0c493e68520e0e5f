"""What every memory of sticky units must keep. A subclass names a `place` fixture; ids are always fresh."""

import asyncio
from dataclasses import dataclass

from schemas.experiments import Variant
from services.assignment.domain.change import Change
from services.assignment.domain.life import Verb, change, draft
from services.assignment.ports import Given, StickyUnits, Store
from tests.unit.assignment.make import definition
from tests.unit.assignment.store_contract import NOTE, fresh, running


@dataclass
class Place:
    """A memory, and the store of the experiments beside it."""

    sticky: StickyUnits
    store: Store


class StickyContract:
    """The promises of `ports.StickyUnits`."""

    async def test_a_unit_is_remembered(self, place: Place) -> None:
        """What a unit was given is recalled, of the experiments that were asked for and no others."""
        first, second, unit = fresh(), fresh(), "用户 🦉"
        assert await place.sticky.recall(unit, {first: 1}) == {}
        assert await place.sticky.remember(first, unit, Given("b", 2), since=1) == Given("b", 2)
        assert await place.sticky.remember(second, unit, Given("c", 3), since=1) == Given("c", 3)
        assert await place.sticky.recall(unit, {first: 1}) == {first: Given("b", 2)}
        both = await place.sticky.recall(unit, {first: 1, second: 3, fresh(): 1})
        assert both == {first: Given("b", 2), second: Given("c", 3)}
        assert await place.sticky.recall("another", {first: 1}) == {}

    async def test_the_first_writer_wins(self, place: Place) -> None:
        """Of many who give a unit a variant at once, all are told the same one."""
        name = fresh()
        told = await asyncio.gather(
            *(place.sticky.remember(name, "u", Given(f"v{n}", 2), since=1) for n in range(8))
        )
        assert len(set(told)) == 1
        assert await place.sticky.recall("u", {name: 1}) == {name: told[0]}

    async def test_what_is_too_old_counts_for_nothing(self, place: Place) -> None:
        """What was given before the revision that is asked for is neither recalled nor kept."""
        name = fresh()
        await place.sticky.remember(name, "u", Given("b", 2), since=1)
        assert await place.sticky.recall("u", {name: 3}) == {}
        assert await place.sticky.remember(name, "u", Given("c", 4), since=3) == Given("c", 4)
        assert await place.sticky.remember(name, "u", Given("d", 5), since=3) == Given("c", 4)

    async def test_forgets_ended_experiments_only(self, place: Place) -> None:
        """Units of an experiment that has ended are forgotten, a few at once; those of a live one are not."""
        ended, live = fresh(), fresh()
        experiment = await running(place.store, ended)
        await running(place.store, live)
        for number in range(3):
            await place.sticky.remember(ended, f"u{number}", Given("b", 2), since=1)
        await place.sticky.remember(live, "u0", Given("b", 2), since=1)
        while await place.sticky.forget(limit=1_000):  # what other tests left
            pass
        await place.store.save([Change(change(experiment, Verb.STOP, NOTE))])
        assert await place.sticky.forget(limit=2) == 2
        assert await place.sticky.forget(limit=2) == 1
        assert await place.sticky.forget(limit=2) == 0
        assert await place.sticky.recall("u0", {live: 1}) == {live: Given("b", 2)}

    async def test_forgets_whatever_an_experiment_holds(self, place: Place) -> None:
        """A payload with the character U+0000, for which PostgreSQL has no text, hinders nobody."""
        name = fresh()
        payloads = tuple(Variant(key=key, payload="\0") for key in ("control", "treatment"))
        first = draft(definition(name, variants=payloads), NOTE)
        second = change(first, Verb.START, NOTE).model_copy(update={"remembers_since": 2})
        await place.store.save([Change(first), Change(second)])
        while await place.sticky.forget(limit=1_000):  # what other tests left
            pass
        await place.sticky.remember(name, "u", Given("control", 1), since=1)
        assert await place.sticky.forget(limit=1_000) == 1

    async def test_forgets_what_is_too_old(self, place: Place) -> None:
        """What was given before `remembers_since` of a live experiment is forgotten."""
        name = fresh()
        experiment = await running(place.store, name)
        while await place.sticky.forget(limit=1_000):  # what other tests left
            pass
        for unit, revision in (("old", 2), ("new", 3)):
            await place.sticky.remember(name, unit, Given("b", revision), since=1)
        paused = change(experiment, Verb.PAUSE, NOTE)
        await place.store.save([Change(paused.model_copy(update={"remembers_since": 3}))])
        assert await place.sticky.forget(limit=1_000) == 1
        assert await place.sticky.recall("old", {name: 3}) == {}
        assert await place.sticky.recall("new", {name: 1}) == {name: Given("b", 3)}
