"""Following metrics' advice."""

from typing import Any

import pytest

from schemas.experiments import Experiment, Policy, VerdictKind
from services.assignment.domain.change import CoverageTarget
from services.assignment.domain.coverage import ExposedUnits
from services.assignment.handlers.advance import advance
from services.assignment.handlers.change_coverage import change_coverage
from services.assignment.handlers.create import create
from services.assignment.handlers.follow_verdict import follow_verdict
from services.assignment.handlers.pause import pause
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk
from tests.unit.assignment.make import RAMP, TEMPLATE, definition, desk, order, store_of, trial, verdict

ADVANCE, PROMOTE, ROLL_BACK = VerdictKind.ADVANCE, VerdictKind.PROMOTE, VerdictKind.ROLL_BACK
VERIFY = VerdictKind.VERIFY


async def running(place: Desk, **fields: Any) -> Experiment:
    """Return an experiment that runs at its first stage."""
    return await create(place, definition(**fields), by="ada", start=True)


async def found(place: Desk) -> Experiment:
    """Return the experiment as it stands."""
    experiment = await place.store.find("checkout")
    assert experiment is not None
    return experiment


async def test_ramp_goes_up_on_evidence_to_promotion() -> None:
    """Each advance raises one stage; at the last, promote ends it. Metrics is named as who decided."""
    place = desk()
    experiment = await running(place)
    for stage in (1, 2):
        assert await follow_verdict(place, verdict(experiment, ADVANCE)) == ""
        experiment = await found(place)
        assert (experiment.stage, experiment.changed_by, experiment.reason) == (stage, "metrics", "evidence")
    assert await follow_verdict(place, verdict(experiment, PROMOTE)) == ""
    assert (await found(place)).state == "promoted"


async def test_verdict_is_followed_once() -> None:
    """The same verdict, delivered again, changes nothing."""
    place = desk()
    advice = verdict(await running(place), ADVANCE)
    assert await follow_verdict(place, advice) == ""
    assert "revision" in await follow_verdict(place, advice)
    assert (await found(place)).stage == 1
    history = await place.store.history("checkout", limit=10)
    assert [each.verdict_id for each in history] == [None, None, advice.verdict_id]


async def test_rollback_from_pause() -> None:
    """A rollback is followed while the experiment is paused; the ramp waits for a person."""
    place = desk()
    await running(place)
    paused = await pause(place, order())
    assert "paused" in await follow_verdict(place, verdict(paused, ADVANCE))
    assert await follow_verdict(place, verdict(paused, ROLL_BACK)) == ""
    assert (await found(place)).state == "rolled_back"


@pytest.mark.parametrize("kind", [ADVANCE, PROMOTE, ROLL_BACK])
async def test_stale_advice_is_ignored(kind: VerdictKind) -> None:
    """Advice on an older revision or another stage is ignored."""
    place = desk()
    before = await running(place)
    now = await advance(place, order())
    for advice in (
        verdict(before, kind),
        verdict(now, kind, revision=before.revision),
        verdict(now, kind, stage=0),
        verdict(now, kind, revision=now.revision + 1),
    ):
        assert "it is about revision" in await follow_verdict(place, advice)
    assert await found(place) == now


async def test_advice_that_does_not_fit_is_ignored() -> None:
    """Hold, advice on an unknown, ended or unstarted experiment, and the wrong step of a ramp do nothing."""
    place = desk()
    experiment = await running(place)
    assert "hold" in await follow_verdict(place, verdict(experiment, VerdictKind.HOLD))
    assert "no such" in await follow_verdict(place, verdict(experiment, ADVANCE, experiment_id="other"))
    assert "not the last" in await follow_verdict(place, verdict(experiment, PROMOTE))
    draft = await create(place, definition("draft"), by="ada")
    assert "draft" in await follow_verdict(place, verdict(draft, ROLL_BACK))
    assert await follow_verdict(place, verdict(experiment, ROLL_BACK)) == ""
    over = await found(place)
    assert "rolled_back" in await follow_verdict(place, verdict(over, ROLL_BACK))


async def test_policy_keeps_decisions_with_people() -> None:
    """Where the policy says so, neither ramp nor rollback is automatic."""
    place = desk()
    policy = Policy(ramp=RAMP, automatic_ramp=False, automatic_rollback=False)
    experiment = await running(place, policy=policy)
    for kind in (ADVANCE, ROLL_BACK):
        assert "a person" in await follow_verdict(place, verdict(experiment, kind))
    assert await found(place) == experiment


async def test_promotion_of_control_is_not_followed() -> None:
    """Advice to promote what cannot be promoted is answered with the reason, not with a failure."""
    place = desk()
    experiment = await running(place, policy=Policy(ramp=()))
    assert "cannot be promoted" in await follow_verdict(
        place, verdict(experiment, PROMOTE, variant="control")
    )


async def test_change_in_between_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a person is faster between reading and writing, the advice is judged anew, and is stale."""
    place = desk()
    store = store_of(place)
    experiment = await running(place)
    real = store.save
    interrupted: list[bool] = []

    async def slow(changes: Any) -> None:
        if not interrupted:
            interrupted.append(True)
            await pause(place, order())
        await real(changes)

    monkeypatch.setattr(store, "save", slow)
    assert "revision" in await follow_verdict(place, verdict(experiment, ADVANCE))
    assert (await found(place)).state == "paused"


async def test_verified_rollback_is_noted_once() -> None:
    """The verdict that a rollback is in force sets when it was verified, once; the state stays as it is."""
    place = desk()
    experiment = await running(place)
    assert "no rollback" in await follow_verdict(place, verdict(experiment, VERIFY))
    assert await follow_verdict(place, verdict(experiment, ROLL_BACK)) == ""
    over = await found(place)
    assert over.verified_at_ms is None
    advice = verdict(over, VERIFY, variant="control")
    assert await follow_verdict(place, advice) == ""
    verified = await found(place)
    assert (verified.state, verified.verified_at_ms) == ("rolled_back", place.clock.now_ms())
    assert (verified.ended_at_ms, verified.revision) == (over.ended_at_ms, over.revision + 1)
    assert "revision" in await follow_verdict(place, advice)
    assert "verified before" in await follow_verdict(place, verdict(verified, VERIFY, verdict_id="another"))
    assert await found(place) == verified


async def test_what_ended_otherwise_is_not_verified() -> None:
    """Only a rollback has a second phase."""
    place = desk()
    await running(place)
    stopped = await stop(place, order())
    assert "stopped" in await follow_verdict(place, verdict(stopped, VERIFY))
    assert await found(place) == stopped


@pytest.mark.parametrize("stage", range(len(RAMP)))
@pytest.mark.parametrize("paused", [False, True])
async def test_rollback_is_followed_at_every_stage(stage: int, paused: bool) -> None:
    """Harm ends an experiment at any stage, running or paused."""
    place = desk()
    await running(place)
    for _ in range(stage):
        await advance(place, order())
    if paused:
        await pause(place, order())
    assert await follow_verdict(place, verdict(await found(place), ROLL_BACK)) == ""
    assert (await found(place)).state == "rolled_back"


async def test_advance_by_hand_needs_no_evidence_and_spoils_what_there_was() -> None:
    """A person may go on at once; evidence that was gathered at the stage before is stale then."""
    place = desk()
    before = await running(place)
    assert (await advance(place, order())).stage == 1
    assert "it is about revision" in await follow_verdict(place, verdict(before, ADVANCE))
    assert "it is about revision" in await follow_verdict(
        place, verdict(await found(place), ADVANCE, stage=0)
    )
    assert (await found(place)).stage == 1


async def test_evidence_of_before_a_retreat_is_stale() -> None:
    """Back at an earlier stage, advice that was given on a later one moves nobody."""
    place = desk()
    await running(place)
    late = verdict(await advance(place, order()), ADVANCE)
    target = CoverageTarget(stage=0, exposed_units=ExposedUnits.TO_CONTROL)
    await change_coverage(place, order(target=target))
    assert "it is about revision" in await follow_verdict(place, late)
    assert (await found(place)).stage == 0


async def test_rollback_of_a_trial_leaves_the_next_waiting_for_models() -> None:
    """After a rollback the same challenger is not tried again, template or not."""
    place = desk()
    await put_trial_template(place, "digits", TEMPLATE)
    experiment = await create(place, trial("digits-v2"), by="ada", start=True)
    assert await follow_verdict(place, verdict(experiment, ROLL_BACK)) == ""
    assert await place.store.live_trial("digits") is None
