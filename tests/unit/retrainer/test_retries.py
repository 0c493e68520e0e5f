"""A degradation is not forgotten: it waits, is tried again, up to a limit of which people are told."""

import pytest

from schemas.health import AlertState, Degradation, DegradationCause, Severity
from schemas.versions import (
    Registration,
    Retraining,
    RetrainingCause,
    RetrainingState,
    VersionRole,
)
from services.retrainer.domain.runs import retraining_id

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
COOLDOWN_MS = 24 * HOUR_MS


def degradation(number: int = 1) -> Degradation:
    """Model `m` got worse."""
    return Degradation(
        degradation_id=f"d{number}",
        model="m",
        version="1",
        cause=DegradationCause.PERFORMANCE,
        occurred_at_ms=NOW_MS,
        since_ms=NOW_MS - number,
        reason="accuracy fell to 0.6",
    )


def request(number: int, **fields: object) -> Retraining:
    """A person's request."""
    plain = {
        "retraining_id": f"r{number}",
        "model": "m",
        "state": RetrainingState.REQUESTED,
        "cause": RetrainingCause.REQUEST,
        "requested_by": "ann",
        "occurred_at_ms": NOW_MS,
        "reason": "because",
    }
    return Retraining.model_validate({**plain, **fields})


async def register(retrainer, version: str) -> None:
    """A person puts a version in charge."""
    registration = Registration(
        registration_id=f"g{version}",
        model="m",
        version=version,
        role=VersionRole.CHAMPION,
        requested_by="ann",
        occurred_at_ms=NOW_MS,
        reason="good",
    )
    await retrainer.register.queue(registration)
    await retrainer.carry_out()


def last(retrainer) -> Retraining:
    """The latest word on retraining."""
    return retrainer.said("retraining")[-1]


def open_alerts(retrainer) -> dict[str, str]:
    """Cause and detail of the episodes that are open."""
    latest = {each.cause: each for each in retrainer.said("alerts")}
    return {cause: each.detail for cause, each in latest.items() if each.state is AlertState.OPENED}


@pytest.fixture
async def degraded(retrainer):
    """Version 1 is champion, there are enough examples, and the candidate will not be better."""
    retrainer.registry.versions["m"] = {"1", "9"}
    await register(retrainer, "1")
    retrainer.examples(200)
    retrainer.champion_accuracy = 0.95
    return retrainer


async def test_cooldown_delays_a_degradation(degraded) -> None:
    """A degradation that meets the cooldown waits for its end, then is answered by a retraining."""
    await degraded.answer(request(1))
    await degraded.steps()
    degraded.clock.advance(HOUR_MS)
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    assert last(degraded).state is RetrainingState.REQUESTED
    assert "waits for 23.0 h, until " in last(degraded).reason
    degraded.champion_accuracy = 0.6
    degraded.examples(0)
    degraded.clock.advance(23 * HOUR_MS)
    await degraded.steps()
    assert last(degraded).state is RetrainingState.COLLECTING
    degraded.examples(200)
    degraded.clock.advance(1_000)
    await degraded.steps()
    assert (last(degraded).state, last(degraded).cause_id) == (RetrainingState.REGISTERED, "d1")
    assert degraded.workshop.orders[-1].from_ms == NOW_MS - 1


async def test_rejected_is_tried_again_after_the_cooldown(degraded) -> None:
    """A rejected candidate of a degraded model is followed by another retraining, with an id of its own."""
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    assert degraded.states()[-2:] == ["rejected", "requested"]
    assert last(degraded).retraining_id == retraining_id("d1", 1)
    assert "tried again in 24.0 h" in open_alerts(degraded)["retraining"]
    degraded.champion_accuracy = 0.6
    degraded.clock.advance(COOLDOWN_MS)
    await degraded.steps()
    assert last(degraded).state is RetrainingState.REGISTERED
    assert not open_alerts(degraded)
    assert len({order.retraining_id for order in degraded.workshop.orders}) == 2


async def test_lack_of_examples_is_tried_again(degraded) -> None:
    """So is one that was refused for want of examples; it then collects for as long as the first did."""
    degraded.examples(0)
    await degraded.answer.degradation(degradation())
    await degraded.steps(pause_ms=4_000_000)
    assert degraded.states()[-2:] == ["refused", "requested"]
    degraded.clock.advance(COOLDOWN_MS)
    await degraded.steps(1)
    assert last(degraded).state is RetrainingState.COLLECTING


async def test_retries_have_a_limit(degraded) -> None:
    """After the first and three more the retrainer gives up, and a high alert of its own says so; the next
    success ends it."""
    await degraded.answer.degradation(degradation())
    for _ in range(6):
        await degraded.steps()
        degraded.clock.advance(COOLDOWN_MS)
    assert degraded.states().count("rejected") == 4
    assert degraded.states()[-1] == "rejected"
    (alert,) = (each for each in degraded.said("alerts") if each.cause == "given-up")
    assert alert.severity is Severity.HIGH
    assert "4 retrainings for degradation d1" in alert.detail
    degraded.champion_accuracy = 0.6
    await degraded.answer(request(1))
    await degraded.steps()
    assert not open_alerts(degraded)


async def test_new_champion_ends_the_retries(degraded) -> None:
    """When somebody else came into charge meanwhile, the degradation is not about the model in use: the
    retraining that waits is dropped, nothing follows, and the alerts end."""
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    await register(degraded, "9")
    assert not open_alerts(degraded)
    degraded.clock.advance(COOLDOWN_MS)
    await degraded.steps()
    assert last(degraded).state is RetrainingState.REFUSED
    assert "version 9 came into charge" in last(degraded).reason
    assert not await degraded.store.due_runs(NOW_MS + 100 * COOLDOWN_MS)
    assert not open_alerts(degraded)


async def test_champion_that_changes_during_the_training_ends_the_retries(degraded) -> None:
    """The same holds when it changes while a retraining is under way and then comes to nothing."""
    await degraded.answer.degradation(degradation())
    await degraded.steps(2)
    await register(degraded, "9")
    await degraded.steps()
    assert degraded.states()[-1] == "rejected"
    assert not await degraded.store.due_runs(NOW_MS + 100 * COOLDOWN_MS)


async def test_forced_request_takes_the_place_of_one_that_waits(degraded) -> None:
    """A person need not wait: the waiting retraining is refused in favour of the request, which then stands
    for the degradation, so that its failure is followed by the next try."""
    await degraded.answer.degradation(degradation())
    await degraded.steps()
    await degraded.answer(request(1, force=True))
    assert (last(degraded).state, last(degraded).retraining_id) == (
        RetrainingState.REFUSED,
        retraining_id("d1", 1),
    )
    assert "r1 takes its place" in last(degraded).reason
    await degraded.steps()
    assert last(degraded).retraining_id == retraining_id("d1", 2)
    assert (last(degraded).since_ms, last(degraded).cause) == (NOW_MS - 1, RetrainingCause.DEGRADATION)


async def test_degradation_during_a_persons_retraining_is_kept(degraded) -> None:
    """A degradation that meets a person's retraining is refused, but tried when that comes to nothing."""
    await degraded.answer(request(1))
    (stale,) = await degraded.store.due_runs(degraded.clock.now_ms())
    await degraded.answer.degradation(degradation())
    assert last(degraded).state is RetrainingState.REFUSED
    assert "is tried if that comes to nothing" in last(degraded).reason
    await degraded.advance(stale)
    await degraded.steps()
    assert (last(degraded).state, last(degraded).cause_id) == (RetrainingState.REQUESTED, "d1")


async def test_persons_request_is_not_tried_again(degraded) -> None:
    """What a person asked for, without a degradation, ends where it ends."""
    await degraded.answer(request(1))
    await degraded.steps()
    assert degraded.states()[-1] == "rejected"
