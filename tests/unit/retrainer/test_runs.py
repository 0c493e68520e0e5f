"""A retraining from degradation to challenger, and everything that can come between."""

import pytest

from libs.common.errors import Conflict, Refused, Retryable
from schemas.health import Alert, AlertState, Degradation, DegradationCause
from schemas.versions import (
    ModelVersion,
    Registration,
    Retraining,
    RetrainingCause,
    RetrainingState,
    VersionRole,
)
from services.retrainer.domain.runs import Crashed

NOW_MS = 1_700_000_000_000


def degradation(number: int = 1) -> Degradation:
    """Model `m` got worse."""
    return Degradation(
        degradation_id=f"d{number}",
        model="m",
        version="1",
        cause=DegradationCause.PERFORMANCE,
        occurred_at_ms=NOW_MS,
        since_ms=NOW_MS - 1_000,
        reason="accuracy fell to 0.6",
    )


def request(**fields: object) -> Retraining:
    """A person's request."""
    plain = {
        "retraining_id": "r1",
        "model": "m",
        "state": RetrainingState.REQUESTED,
        "cause": RetrainingCause.REQUEST,
        "requested_by": "ann",
        "occurred_at_ms": NOW_MS,
        "reason": "because",
    }
    return Retraining.model_validate({**plain, **fields})


@pytest.fixture
async def degraded(retrainer):
    """Version 1 is champion and there are enough examples."""
    await retrainer.register.queue(
        Registration(
            registration_id="g1",
            model="m",
            version="1",
            role=VersionRole.CHAMPION,
            requested_by="ann",
            occurred_at_ms=NOW_MS,
            reason="first",
        )
    )
    await retrainer.carry_out()
    retrainer.examples(200)
    return retrainer


async def test_degradation_ends_in_a_challenger(degraded) -> None:
    """Every step is published in order, and at the end the new version is the model's challenger."""
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    assert degraded.states() == ["requested", "collecting", "training", "validating", "registered"]
    state, last = degraded.model(), degraded.said("retraining")[-1]
    assert (state.champion.version, state.challenger.version) == ("1", "2")
    assert (state.challenger.origin, state.challenger.reference.predictions) == ("retrained", 10)
    assert state.challenger.scores["gain"] == pytest.approx(0.3)
    assert (last.version, last.examples, last.cause_id) == ("2", 2_000, "d1")
    assert degraded.workshop.result(last.retraining_id) is None


async def test_order_names_window_and_champion(degraded) -> None:
    """The training is told the window from the change on, and against whom."""
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    order = degraded.workshop.orders[0]
    assert (order.from_ms, order.until_ms, order.champion_version) == (NOW_MS - 1_000, NOW_MS, "1")


async def test_repeated_degradation_is_nothing_new(degraded) -> None:
    """The same degradation, heard again at any time, starts nothing and says nothing."""
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    said = len(degraded.store.published)
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    assert len(degraded.store.published) == said


async def test_second_degradation_is_refused_while_one_is_answered(degraded) -> None:
    """While a retraining is under way another one of the same model is refused; later, by the cooldown."""
    await degraded.answer.degradation(degradation(1))
    await degraded.answer.degradation(degradation(2))
    assert degraded.states() == ["requested", "refused"]
    assert "under way" in degraded.said("retraining")[-1].reason
    await degraded.steps()
    await degraded.answer.degradation(degradation(3))
    assert "cooldown" in degraded.said("retraining")[-1].reason


async def test_refusal_starts_no_cooldown(degraded) -> None:
    """A retraining that was refused for want of examples has cost nothing: the next one may begin."""
    degraded.examples(0)
    await degraded.answer.degradation(degradation(1))
    await degraded.steps(pause_ms=4_000_000)
    assert degraded.states()[-2:] == ["refused", "requested"]
    await degraded.answer.degradation(degradation(2))
    await degraded.steps(1)
    assert degraded.states()[-3:] == ["refused", "requested", "collecting"]
    assert degraded.said("retraining")[-1].cause_id == "d2"


async def test_collecting_waits_then_says_how_many(degraded) -> None:
    """With too few examples it looks again until the deadline, then refuses with the numbers and an alert."""
    degraded.examples(40)
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    assert degraded.states() == ["requested", "collecting"]
    degraded.clock.advance(3_600_000)
    await degraded.steps()
    last, alert = degraded.said("retraining")[-2], degraded.said("alerts")[-1]
    assert (last.state, last.examples) == (RetrainingState.REFUSED, 40)
    assert last.reason == "not enough labelled examples: 40 of 100"
    assert isinstance(alert, Alert)
    assert alert.detail == f"refused: {last.reason}; tried again in 24.0 h (retry 1 of 3)"


async def test_collecting_goes_on_when_examples_come(degraded) -> None:
    """As soon as there are enough examples, training begins by itself."""
    degraded.examples(40)
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    degraded.examples(100)
    degraded.clock.advance(1_000)
    await degraded.steps()
    assert degraded.states()[-1] == "registered"


async def test_worse_candidate_is_rejected_with_numbers(degraded) -> None:
    """A candidate that is not better than the champion is rejected, and the champion's state stays."""
    degraded.champion_accuracy = 0.95
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    last = degraded.said("retraining")[-2]
    assert last.state is RetrainingState.REJECTED
    assert "0.900 against 0.950" in last.reason
    assert degraded.model().challenger is None
    assert degraded.said("alerts")[-1].state is AlertState.OPENED


async def test_success_resolves_the_alert(degraded) -> None:
    """The episode that a failed retraining opened ends with the next one that succeeds."""
    degraded.champion_accuracy = 0.95
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    degraded.champion_accuracy = 0.6
    await degraded.answer(request(force=True))
    await degraded.steps()
    opened, resolved = degraded.said("alerts")
    assert resolved.alert_id == opened.alert_id
    assert resolved.state is AlertState.RESOLVED


async def test_persons_request_is_not_repeated(degraded) -> None:
    """An accepted request of a person stands on the topic already; the first word of ours is `collecting`."""
    await degraded.answer(request())
    await degraded.steps()
    assert degraded.states()[0] == "collecting"
    assert degraded.said("retraining")[-1].retraining_id == "r1"


async def test_dry_run_changes_nothing(degraded) -> None:
    """A dry run is answered once, and nothing is under way afterwards."""
    await degraded.answer(request(dry_run=True))
    await degraded.steps()
    assert degraded.states() == ["planned"]
    assert not degraded.workshop.orders


async def test_outage_is_waited_out(degraded) -> None:
    """While the registry is away nothing is lost or given up, however long it takes."""
    degraded.workshop.troubles = [Retryable("MLflow is away")] * 7
    await degraded.answer.degradation(degradation())
    await degraded.steps(30, pause_ms=5_000)
    assert degraded.states()[-1] == "registered"


async def test_crashes_are_repeated_but_not_for_ever(degraded) -> None:
    """A training that crashes is repeated; after the third time it has failed, with the reason."""
    degraded.workshop.troubles = [Crashed("ended by signal 9")] * 2
    await degraded.answer.degradation(degradation(1))
    await degraded.steps(20, pause_ms=5_000)
    assert degraded.states()[-1] == "registered"
    degraded.workshop.troubles = [Crashed("ended by signal 9")] * 3
    await degraded.answer(request(force=True))
    await degraded.steps(20, pause_ms=5_000)
    last = degraded.said("retraining")[-1]
    assert (last.state, last.reason) == (
        RetrainingState.FAILED,
        "given up after 3 attempts: ended by signal 9",
    )


async def test_impossible_training_fails_with_its_reason(degraded) -> None:
    """Examples that cannot be learnt from end the retraining at once, with the reason."""
    degraded.workshop.troubles = [Refused("all examples have the same label")]
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    failed = degraded.said("retraining")[-2]
    assert (failed.state, failed.reason) == (RetrainingState.FAILED, "all examples have the same label")


async def test_lost_files_are_made_again(degraded) -> None:
    """When the machine that trained is gone with its files, the training is repeated on the same window."""
    await degraded.answer.degradation(degradation())
    await degraded.steps(3)
    (run,) = await degraded.store.due_runs(degraded.clock.now_ms())
    assert run.state is RetrainingState.VALIDATING
    degraded.workshop.clear(run.id)
    degraded.clock.advance(60_000)
    await degraded.steps()
    assert degraded.states()[-4:] == ["validating", "training", "validating", "registered"]
    first, second = degraded.workshop.orders
    assert first == second


async def test_crash_between_registry_and_record_registers_once(degraded) -> None:
    """Killed after the registry took the version and before the record knew: no second version."""
    await degraded.answer.degradation(degradation())
    await degraded.steps(3)
    (run,) = await degraded.store.due_runs(degraded.clock.now_ms())
    before = degraded.store.transaction

    def dies(model: str):
        raise Retryable("killed here")

    degraded.store.transaction = dies
    with pytest.raises(Retryable):
        await degraded.advance(run)
    assert degraded.registry.versions["m"] == {"1", "2"}
    degraded.store.transaction = before
    await degraded.steps()
    assert degraded.registry.versions["m"] == {"1", "2"}
    assert degraded.model().challenger.version == "2"


async def test_step_that_somebody_else_took_is_a_conflict(degraded) -> None:
    """Of two processes that take the same step, the second is told and changes nothing."""
    await degraded.answer.degradation(degradation())
    (run,) = await degraded.store.due_runs(degraded.clock.now_ms())
    await degraded.advance(run)
    said = len(degraded.store.published)
    with pytest.raises(Conflict, match="somebody else"):
        await degraded.advance(run)
    assert len(degraded.store.published) == said


async def test_model_without_champion_can_be_trained(retrainer) -> None:
    """A request for a model that has no champion yet gives a challenger on the thresholds alone."""
    retrainer.examples(200)
    await retrainer.answer(request())
    await retrainer.steps()
    assert retrainer.workshop.orders[0].champion_version is None
    assert isinstance(retrainer.model().challenger, ModelVersion)
    assert retrainer.model().champion is None
