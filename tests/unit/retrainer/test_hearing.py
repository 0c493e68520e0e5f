"""From records to handlers: what is ours, what is poison, and the duties that go on without events."""

import asyncio

import pytest

from libs.common.bus.control import control_message
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message, Record
from libs.common.clock import SystemClock
from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from schemas.event import Contract
from schemas.health import Degradation, DegradationCause
from schemas.versions import (
    Registration,
    Retraining,
    RetrainingCause,
    RetrainingState,
    VersionRole,
)
from services.retrainer.adapters.memory import MemoryStore
from services.retrainer.domain.runs import Run
from services.retrainer.entrypoints.duties import Duties, keep_registry, keep_runs
from services.retrainer.entrypoints.worker import Hearing

NOW_MS = 1_700_000_000_000


def retraining(state: RetrainingState, cause: RetrainingCause = RetrainingCause.REQUEST) -> Retraining:
    """A step in a retraining's life."""
    return Retraining(
        retraining_id="r1",
        model="m",
        state=state,
        cause=cause,
        requested_by="ann",
        occurred_at_ms=NOW_MS,
        reason="because",
    )


def degradation() -> Degradation:
    """Model `m` got worse."""
    return Degradation(
        degradation_id="d1",
        model="m",
        version="1",
        cause=DegradationCause.DRIFT,
        occurred_at_ms=NOW_MS,
        since_ms=NOW_MS,
        reason="PSI",
    )


def registration() -> Registration:
    """Version 1 is to be champion."""
    return Registration(
        registration_id="g1",
        model="m",
        version="1",
        role=VersionRole.CHAMPION,
        requested_by="ann",
        occurred_at_ms=NOW_MS,
        reason="first",
    )


@pytest.fixture
async def hear(retrainer):
    """Hand a message to the retrainer as a record; `dead` holds what was buried."""
    bus = MemoryBus(retrainer.clock)
    await bus.admin().ensure_topics(["dead-letters"])
    producer = bus.producer()
    await producer.start()
    hearing = Hearing(
        answer=retrainer.answer,
        register=retrainer.register,
        trials=retrainer.trials,
        dead_letters=DeadLetters(producer, source="retrainer", clock=retrainer.clock),
        clock=retrainer.clock,
    )

    async def hear(message: Message) -> None:
        await hearing(Record(message.topic, 0, 0, NOW_MS, message.key.encode(), message.value))

    async def buried() -> int:
        reader = bus.reader(["dead-letters"])
        await reader.start()
        found = await reader.fetch(timeout_ms=1, max_records=10)
        await reader.stop()
        return sum(len(records) for records in found.values())

    hear.buried = buried
    hear.retrainer = retrainer
    yield hear
    await producer.stop()


def message(topic: str, event: Contract, clock: SystemClock) -> Message:
    """The event as the bus carries it."""
    return control_message(topic, "m", event, source="test", clock=clock)


async def test_each_event_reaches_its_handler(hear) -> None:
    """A degradation and a request begin a run, a registration is queued."""
    clock = hear.retrainer.clock
    await hear(message("degradations", degradation(), clock))
    await hear(message("retraining", retraining(RetrainingState.REQUESTED), clock))
    await hear(message("retraining", registration(), clock))
    assert hear.retrainer.states() == ["requested", "refused"]
    assert len(await hear.retrainer.store.registrations()) == 1
    assert await hear.buried() == 0


async def test_own_words_are_not_answered(hear) -> None:
    """What the retrainer itself said on `retraining` starts nothing."""
    for state in RetrainingState:
        cause = RetrainingCause.DEGRADATION
        await hear(message("retraining", retraining(state, cause), hear.retrainer.clock))
    assert not hear.retrainer.store.published


async def test_poison_is_buried_and_the_rest_goes_on(hear) -> None:
    """What is no event goes to the dead letters, and the next record is handled; tombstones are nothing."""
    await hear(Message("degradations", "m", b"{"))
    await hear(Message("degradations", "m", None))
    await hear(message("degradations", degradation(), hear.retrainer.clock))
    assert await hear.buried() == 1
    assert hear.retrainer.states() == ["requested"]


async def test_duties_do_the_work_that_waits(retrainer) -> None:
    """What lies in the record is taken on without any event: the queue, the aliases and the runs."""
    await retrainer.register.queue(registration())
    await retrainer.answer.degradation(degradation())
    retrainer.examples(200)
    stop, duties = Stop(), Duties(retrainer.store, retrainer.clock, Health(retrainer.clock), interval_ms=1)

    async def end() -> None:
        while "registered" not in retrainer.states() or len(retrainer.registry.aliases) < 2:
            retrainer.clock.advance(1)
            await asyncio.sleep(0.001)
        stop.set("done")

    async with asyncio.timeout(10):
        await asyncio.gather(
            keep_runs(duties, retrainer.advance, stop),
            keep_registry(duties, retrainer.register, retrainer.set_aliases, stop),
            end(),
        )
    assert retrainer.model().challenger.version == "2"


async def test_step_under_way_is_broken_off_at_stop(retrainer) -> None:
    """A step that lasts is cancelled when the process is to end, and nothing of it is recorded."""
    await retrainer.answer.degradation(degradation())
    begun = asyncio.Event()

    async def lasts(run: Run) -> None:
        begun.set()
        await asyncio.Event().wait()

    stop, duties = Stop(), Duties(retrainer.store, retrainer.clock, Health(retrainer.clock), interval_ms=1)
    keeping = asyncio.ensure_future(keep_runs(duties, lasts, stop))
    async with asyncio.timeout(10):
        await begun.wait()
        stop.set("enough")
        await keeping
    assert retrainer.states() == ["requested"]


async def test_defect_in_a_step_costs_the_run_not_the_worker(retrainer) -> None:
    """An unforeseen error in a step counts as an attempt; after the last one the run has failed."""
    await retrainer.answer.degradation(degradation())
    retrainer.examples(200)
    retrainer.workshop.troubles = [ZeroDivisionError("a defect")] * 3
    stop, duties = Stop(), Duties(retrainer.store, retrainer.clock, Health(retrainer.clock), interval_ms=1)

    async def end() -> None:
        while "failed" not in retrainer.states():
            retrainer.clock.advance(1_000)
            await asyncio.sleep(0.001)
        stop.set("done")

    async with asyncio.timeout(10):
        await asyncio.gather(keep_runs(duties, retrainer.advance, stop), end())
    (failed,) = (each for each in retrainer.said("retraining") if each.state.value == "failed")
    assert "ZeroDivisionError: a defect" in failed.reason


async def test_record_away_is_not_ready_and_waited_for() -> None:
    """While the record does not answer the duty says why it is not ready, and goes on when it is back."""
    clock, stop = SystemClock(), Stop()
    health, store = Health(clock), MemoryStore()
    away, seen = [1, 1], []

    async def work() -> None:
        if away:
            away.pop()
            raise Retryable("PostgreSQL is away")
        seen.append(dict(health.reasons()))
        stop.set("done")

    async with asyncio.timeout(10):
        await Duties(store, clock, health, interval_ms=1).keep("runs", work, stop)
    assert seen == [{"runs": "PostgreSQL is away"}]
    assert health.ready()
