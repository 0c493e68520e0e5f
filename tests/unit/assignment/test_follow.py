"""The topics that are followed, on a bus in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from libs.common.bus.control import control_message
from libs.common.bus.dead_letters import DeadLetterLimit
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from schemas.experiments import Experiment, VerdictKind
from services.assignment.adapters.memory import MemoryStore
from services.assignment.bootstrap import followers
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.ports import Desk
from tests.unit.assignment.make import TEMPLATE, desk, model_state, store_of, verdict

DEADLINE_S = 10


@asynccontextmanager
async def following(bus: MemoryBus, place: Desk) -> AsyncIterator[Health]:
    """Follow both topics while the block lasts."""
    producer, stop, health = bus.producer(), Stop(), Health(place.clock)
    await producer.start()
    tasks = [asyncio.create_task(each.run(stop)) for each in followers(bus, place, producer, health)]
    try:
        yield health
    finally:
        stop.set("the test is over")
        await asyncio.gather(*tasks)
        await producer.stop()


async def send(bus: MemoryBus, message: Message) -> None:
    """Put one message on the bus."""
    producer = bus.producer()
    await producer.start()
    await producer.send(message)
    await producer.stop()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a state."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.002)


def state_of(store: MemoryStore, experiment_id: str) -> str | None:
    """Return the state that was told last of an experiment."""
    told = [each for each in store.told if (each.topic, each.key) == ("experiments", experiment_id)]
    return Experiment.model_validate_json(told[-1].value or b"").state if told else None


async def test_from_challenger_to_rollback() -> None:
    """A challenger on `models` begins its trial; a verdict on `verdicts` rolls it back; poison is buried."""
    place = desk()
    store, bus = store_of(place), MemoryBus(place.clock)
    await put_trial_template(place, "digits", TEMPLATE)
    async with following(bus, place):
        await send(bus, Message("models", "digits", b"{"))
        state = model_state(1, challenger="2")
        await send(bus, control_message("models", "digits", state, source="retrainer", clock=place.clock))
        await until(lambda: state_of(store, "digits-v2") == "running")
        trial = await store.live_trial("digits")
        assert trial is not None
        advice = verdict(trial, VerdictKind.ROLL_BACK)
        await send(bus, Message("verdicts", "digits-v2", b"[]"))
        for _ in range(2):
            message = control_message("verdicts", "digits-v2", advice, source="metrics", clock=place.clock)
            await send(bus, message)
        await until(lambda: state_of(store, "digits-v2") == "rolled_back")
        await until(lambda: len(bus.records("dead-letters")) == 2)
    assert [each.topic for each in store.told].count("rollbacks") == 1


async def test_outage_of_the_store_delays_and_loses_nothing() -> None:
    """A model's state that comes while the database is away is followed when it is back."""
    place = desk()
    store, bus = store_of(place), MemoryBus(place.clock)
    await put_trial_template(place, "digits", TEMPLATE)
    async with following(bus, place) as health:
        state = model_state(1, challenger="2")
        store.down = True
        await send(bus, control_message("models", "digits", state, source="retrainer", clock=place.clock))
        await until(lambda: "the store is down" in health.reasons().values())
        store.down = False
        await until(lambda: state_of(store, "digits-v2") == "running")


async def test_restart_opens_the_trial_that_was_due() -> None:
    """A process that starts anew reads `models` from the beginning and opens a trial that is still due."""
    place = desk()
    store, bus = store_of(place), MemoryBus(place.clock)
    state = model_state(1, challenger="2")
    await send(bus, control_message("models", "digits", state, source="retrainer", clock=place.clock))
    async with following(bus, place) as health:
        await until(lambda: not health.reasons())
    record = await store.find_model("digits")
    assert record is not None
    await store.save_model(record.with_template(TEMPLATE))
    async with following(bus, place):
        await until(lambda: state_of(store, "digits-v2") == "running")


async def test_poison_in_one_topic_does_not_count_against_the_other() -> None:
    """Each topic has its own limit of poison: together they may bury more than one alone could."""
    place = desk()
    bus = MemoryBus(place.clock)
    each_s = DeadLetterLimit().run * 6 // 10
    async with following(bus, place):
        for _ in range(each_s):
            for topic in ("models", "verdicts"):
                await send(bus, Message(topic, "digits", b"{"))
        await until(lambda: len(bus.records("dead-letters")) == 2 * each_s)
