"""What every store must keep. A subclass names a `store` fixture; ids are fresh in every test."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from libs.common.bus.ports import Message
from libs.common.clock import ManualClock
from libs.common.errors import Conflict, Refused
from schemas.audience import Exclusion
from schemas.experiments import Experiment, ExperimentState, Rollback
from services.assignment.domain.change import Change, Order, Past, rollback_of
from services.assignment.domain.life import Note, Verb, change, draft
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.quarantine import QuarantineAct, entries
from services.assignment.handlers.create import create
from services.assignment.handlers.start import start
from services.assignment.ports import Desk, Store
from tests.unit.assignment.make import NOW_MS, TEMPLATE, definition, trial

NOTE = Note("ada", "because", NOW_MS)


@dataclass
class Place:
    """A store, and what it has told the bus (or is going to)."""

    store: Store
    told: Callable[[], Awaitable[list[Message]]]


def fresh() -> str:
    """Return a name that no other test uses."""
    return f"test-{secrets.token_hex(6)}"


async def running(store: Store, experiment_id: str) -> Experiment:
    """Save an experiment that runs, and return it."""
    first = draft(definition(experiment_id), NOTE)
    second = change(first, Verb.START, NOTE)
    await store.save([Change(first), Change(second)])
    return second


class StoreContract:
    """The promises of `ports.Store`."""

    async def test_what_was_saved_is_found(self, place: Place) -> None:
        """An experiment is found as it was saved; an unknown one is not found."""
        name = fresh()
        saved = await running(place.store, name)
        assert await place.store.find(name) == saved
        assert await place.store.find(fresh()) is None

    async def test_payloads_come_back_whole(self, place: Place) -> None:
        """Payloads of any JSON, with any characters, come back as they went in."""
        name = fresh()
        odd = {"nul": "\u0000", "owl": "🦉", "deep": [{"a": [1, 2.5, None, True]}], "big": 10**17}
        variants = (
            definition().variants[0],
            definition().variants[1].model_copy(update={"payload": odd}),
        )
        await place.store.save([Change(draft(definition(name, variants=variants), NOTE))])
        found = await place.store.find(name)
        assert found is not None
        assert found.variants[1].payload == odd

    async def test_history_keeps_every_revision(self, place: Place) -> None:
        """Every revision is in the history, in order, with the verdict that was followed."""
        name = fresh()
        second = await running(place.store, name)
        third = change(second, Verb.ADVANCE, NOTE)
        await place.store.save([Change(third, verdict_id=f"verdict-{name}")])
        past = await place.store.history(name, limit=10)
        assert [each.experiment.revision for each in past] == [1, 2, 3]
        assert past[-1].experiment == third
        assert [each.verdict_id for each in past] == [None, None, f"verdict-{name}"]
        assert [each.experiment.revision for each in await place.store.history(name, limit=2)] == [2, 3]
        assert list(await place.store.history(fresh(), limit=2)) == []

    async def test_history_only_grows(self, place: Place) -> None:
        """What was told of a revision stays told: whatever is saved, refused or done to what was read, the
        history of before is the beginning of the history of after."""
        name = fresh()
        now = await running(place.store, name)
        told: list[Past] = []
        for verb in (Verb.PAUSE, Verb.RESUME, Verb.ADVANCE, Verb.ROLL_BACK, Verb.VERIFY):
            before, now = now, change(now, verb, NOTE)
            await place.store.save([Change(now)])
            for again in (now, before):
                with pytest.raises(Conflict):
                    await place.store.save([Change(again)])
            past = list(await place.store.history(name, limit=100))
            assert past[: len(told)] == told
            assert past[-1].experiment == now
            told = list(past)
            past.clear()  # what was handed out is the reader's own
        assert list(await place.store.history(name, limit=100)) == told

    async def test_what_rests_on_older_rules_is_a_conflict(self, place: Place) -> None:
        """What was checked against the rules at a revision is saved at that revision or not at all."""
        name, other = fresh(), fresh()
        checked = await place.store.rules_revision()
        await place.store.save([Change(draft(definition(other), NOTE))], rules_revision=checked)
        with pytest.raises(Conflict):
            await place.store.save([Change(draft(definition(name), NOTE))], rules_revision=checked)
        assert await place.store.find(name) is None
        now = await place.store.rules_revision()
        await place.store.save([Change(draft(definition(name), NOTE))], rules_revision=now)
        assert await place.store.find(name) is not None

    async def test_of_rivals_for_a_share_one_starts(self, place: Place) -> None:
        """Of many starts at once whose shares of an exclusion group overlap, exactly one is started."""
        clock, group = ManualClock(NOW_MS), fresh()
        desk = Desk(place.store, clock)
        names = [fresh() for _ in range(5)]
        for name in names:
            share = Exclusion(group=group, start=0.0, end=0.6)
            await create(desk, definition(name, exclusion=share), by="ada")
        answers = await asyncio.gather(
            *(start(desk, Order(name, "ada", "race")) for name in names), return_exceptions=True
        )
        assert [isinstance(each, Experiment) for each in answers].count(True) == 1
        assert all(isinstance(each, Experiment | Refused) for each in answers)
        live = [each for each in await place.store.live() if each.experiment_id in names]
        assert len(live) == 1

    async def test_quarantine_is_logged_with_its_cause(self, place: Place) -> None:
        """Entries are in a model's log together with the change that made them, or not at all."""
        model, name = fresh(), fresh()
        first, second = (
            entries(model, (version,), act, NOTE)
            for version, act in (("2", QuarantineAct.QUARANTINED), ("3", QuarantineAct.LIFTED))
        )
        record = ModelRecord(model=model).quarantine(("2",))
        await place.store.save_model(record, log=first)
        with pytest.raises(Conflict):
            await place.store.save_model(record, log=first)
        before = draft(definition(name), NOTE)
        await place.store.save([Change(before, model=record.with_champion("1"), quarantine=second)])
        with pytest.raises(Conflict):
            await place.store.save([Change(before, quarantine=second)])
        assert list(await place.store.quarantine_log(model, limit=10)) == [*first, *second]
        assert list(await place.store.quarantine_log(model, limit=1)) == list(second)
        assert list(await place.store.quarantine_log(fresh(), limit=1)) == []

    async def test_stale_change_is_a_conflict(self, place: Place) -> None:
        """A change that rests on an older revision is refused and leaves nothing behind."""
        name = fresh()
        before = await running(place.store, name)
        await place.store.save([Change(change(before, Verb.PAUSE, NOTE))])
        told = len(await place.told())
        with pytest.raises(Conflict):
            await place.store.save([Change(change(before, Verb.STOP, NOTE))])
        found = await place.store.find(name)
        assert found is not None
        assert found.state is ExperimentState.PAUSED
        assert len(await place.told()) == told
        assert len(await place.store.history(name, limit=10)) == 3

    async def test_same_id_twice_is_a_conflict(self, place: Place) -> None:
        """An id is given once."""
        name = fresh()
        await running(place.store, name)
        with pytest.raises(Conflict):
            await place.store.save([Change(draft(definition(name), NOTE))])

    async def test_of_rivals_one_wins(self, place: Place) -> None:
        """Of many changes that rest on the same revision exactly one is saved."""
        name = fresh()
        before = await running(place.store, name)
        after = change(before, Verb.PAUSE, NOTE)
        answers = await asyncio.gather(
            *(place.store.save([Change(after)]) for _ in range(5)), return_exceptions=True
        )
        assert answers.count(None) == 1
        assert all(isinstance(each, Conflict) for each in answers if each is not None)

    async def test_verdict_is_followed_once(self, place: Place) -> None:
        """No verdict is followed twice, not even for another revision."""
        name = fresh()
        second = await running(place.store, name)
        third = change(second, Verb.ADVANCE, NOTE)
        await place.store.save([Change(third, verdict_id=f"verdict-{name}")])
        with pytest.raises(Conflict):
            await place.store.save([Change(change(third, Verb.ADVANCE, NOTE), verdict_id=f"verdict-{name}")])

    async def test_changes_are_saved_together_or_not(self, place: Place) -> None:
        """When one of several changes is refused, none is saved."""
        name, other = fresh(), fresh()
        before = await running(place.store, name)
        stale = before.model_copy(update={"revision": before.revision + 5})
        with pytest.raises(Conflict):
            await place.store.save([Change(draft(definition(other), NOTE)), Change(stale)])
        assert await place.store.find(other) is None

    async def test_events_follow_the_state(self, place: Place) -> None:
        """Each change tells its experiment's new state on `experiments`, and a rollback on `rollbacks`."""
        name = fresh()
        before = await running(place.store, name)
        after = change(before, Verb.ROLL_BACK, NOTE)
        await place.store.save([Change(after, rollback=rollback_of(after, "verdict-1"))])
        told = [each for each in await place.told() if each.key == name]
        assert [each.topic for each in told] == ["experiments"] * 3 + ["rollbacks"]
        states = [json.loads(each.value or b"")["state"] for each in told[:3]]
        assert states == ["draft", "running", "rolled_back"]
        assert Experiment.model_validate_json(told[2].value or b"") == after
        assert Rollback.model_validate_json(told[3].value or b"").verdict_id == "verdict-1"
        assert told[2].headers["ce_source"] == "/trimtab/assignment"

    async def test_model_has_one_live_trial(self, place: Place) -> None:
        """A second live trial of a model is a conflict; when the first has ended there may be another."""
        model = fresh()
        first = draft(trial(f"{model}-v2", model), NOTE)
        live = change(first, Verb.START, NOTE)
        await place.store.save([Change(first), Change(live)])
        assert await place.store.live_trial(model) == live
        second = draft(trial(f"{model}-v3", model, challenger="3"), NOTE)
        await place.store.save([Change(second)])
        with pytest.raises(Conflict):
            await place.store.save([Change(change(second, Verb.START, NOTE))])
        await place.store.save([Change(change(live, Verb.STOP, NOTE))])
        assert await place.store.live_trial(model) is None
        await place.store.save([Change(change(second, Verb.START, NOTE))])

    async def test_record_of_a_model_is_optimistic(self, place: Place) -> None:
        """A model's record is saved on top of the one that it rests on, and on no other."""
        model = fresh()
        assert await place.store.find_model(model) is None
        first = ModelRecord(model=model).with_template(TEMPLATE)
        await place.store.save_model(first)
        assert await place.store.find_model(model) == first
        await place.store.save_model(first.with_champion("1"))
        with pytest.raises(Conflict):
            await place.store.save_model(first.with_champion("2"))
        with pytest.raises(Conflict):
            await place.store.save_model(ModelRecord(model=model).with_champion("3"))
        found = await place.store.find_model(model)
        assert found is not None
        assert found.champion == "1"

    async def test_experiment_and_model_change_together(self, place: Place) -> None:
        """When the model's record has changed meanwhile, the experiment does not change either."""
        model, name = fresh(), fresh()
        before = await running(place.store, name)
        record = ModelRecord(model=model).with_champion("1")
        await place.store.save_model(record)
        stale = ModelRecord(model=model).with_champion("9")
        with pytest.raises(Conflict):
            await place.store.save([Change(change(before, Verb.STOP, NOTE), model=stale)])
        assert await place.store.find(name) == before
        await place.store.save([Change(change(before, Verb.STOP, NOTE), model=record.quarantine(("2",)))])
        found = await place.store.find_model(model)
        assert found is not None
        assert found.quarantined == ("2",)

    async def test_lists_are_newest_first(self, place: Place) -> None:
        """Experiments are listed by their last change, newest first, and by state where one is wanted."""
        names = [fresh() for _ in range(3)]
        for later, name in enumerate(names):
            note = Note("ada", "because", NOW_MS + 60_000 + later)
            await place.store.save([Change(draft(definition(name), note))])
        newest = await place.store.experiments(state=ExperimentState.DRAFT, limit=1_000)
        assert [each.experiment_id for each in newest if each.experiment_id in names] == names[::-1]
        stopped = await place.store.experiments(state=ExperimentState.STOPPED, limit=1_000)
        assert not {each.experiment_id for each in stopped} & set(names)
        assert len(await place.store.experiments(state=None, limit=2)) == 2

    async def test_models_are_listed(self, place: Place) -> None:
        """Every model's record is listed, by name."""
        names = sorted(fresh() for _ in range(3))
        for name in names[::-1]:
            await place.store.save_model(ModelRecord(model=name).with_template(TEMPLATE))
        listed = await place.store.models()
        assert [each.model for each in listed if each.model in names] == names
        assert await place.store.find_model(names[0]) in listed

    async def test_rules_revision_grows_with_every_save(self, place: Place) -> None:
        """Whatever is saved raises the number of the rules; what is refused does not."""
        start = await place.store.rules_revision()
        before = await running(place.store, fresh())
        middle = await place.store.rules_revision()
        assert middle > start
        with pytest.raises(Conflict):
            await place.store.save([Change(before)])
        assert await place.store.rules_revision() == middle
        await place.store.save_model(ModelRecord(model=fresh()).with_champion("1"))
        assert await place.store.rules_revision() > middle

    async def test_snapshot_is_whole(self, place: Place) -> None:
        """A snapshot holds what is live, what has ended with who won, the models, and its revision."""
        live, ended, drafted, model = fresh(), fresh(), fresh(), fresh()
        count = await place.store.live_count()
        running_now = await running(place.store, live)
        over = change(await running(place.store, ended), Verb.PROMOTE, NOTE).model_copy(
            update={"promoted_variant": "treatment"}
        )
        await place.store.save([Change(over)])
        await place.store.save([Change(draft(definition(drafted), NOTE))])
        await place.store.save_model(ModelRecord(model=model).with_champion("1"))
        snapshot = await place.store.snapshot()
        assert snapshot.revision == await place.store.rules_revision()
        assert running_now in snapshot.live
        assert tuple(await place.store.live()) == snapshot.live
        assert {each.experiment_id for each in snapshot.live}.isdisjoint({ended, drafted})
        assert [each for each in snapshot.ended if each.experiment_id == ended] == [over]
        assert [each.champion for each in snapshot.models if each.model == model] == ["1"]
        assert await place.store.live_count() == count + 1
