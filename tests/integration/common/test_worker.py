"""Faust's workers on Apache Kafka: what is handled, what comes again, who leads, and when they give up."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message, Producer, Record
from libs.common.clock import SystemClock
from libs.common.entrypoints.worker import FaustSettings, FaustWorker
from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from libs.common.telemetry.names import EVENTS_IN, HANDLER_DURATION, collector
from schemas.experiments import Rollback

TOPIC = "rollbacks"
DEADLINE_S = 30
CLOCK = SystemClock()


def rollback(experiment_id: str) -> bytes:
    """Return the value of a record."""
    return Rollback(
        rollback_id=experiment_id,
        experiment_id=experiment_id,
        variants=("b",),
        safe_variant="a",
        occurred_at_ms=CLOCK.now_ms(),
        reason="test",
        decided_by="test",
    ).to_json()


@dataclass
class Place:
    """A group of its own on a topic that other tests write to as well: ours are the keys that it begins."""

    servers: str
    producer: Producer
    group: str = field(default_factory=lambda: f"worker-{secrets.token_hex(4)}")

    def worker(self, *, stall_ms: int = 30_000) -> tuple[FaustWorker, Health]:
        """Return a member of the group, and its health."""
        health = Health(CLOCK)
        settings = FaustSettings(
            app_id=self.group,
            bootstrap_servers=self.servers,
            session_timeout_ms=6_000,
            heartbeat_ms=500,
            stall_ms=stall_ms,
        )
        return FaustWorker(settings, clock=CLOCK, health=health), health

    async def send(self, name: str, **headers: str) -> None:
        """Append a record of ours. It is a good event, for others read this topic too."""
        await self.producer.send(Message(TOPIC, self.key(name), rollback(self.key(name)), headers))

    def key(self, name: str) -> str:
        """Return the key of the record with this name."""
        return f"{self.group}-{name}"

    def owns(self, record: Record) -> bool:
        """Return whether the record is ours."""
        return (record.key or b"").startswith(self.group.encode())


@dataclass
class Ear:
    """A handler that notes the names of our records, and does something first if told to."""

    place: Place
    act: Callable[[str], None] = lambda _: None
    heard: list[str] = field(default_factory=list)

    async def __call__(self, record: Record) -> None:
        """Note the record."""
        if self.place.owns(record):
            name = (record.key or b"").decode().removeprefix(self.place.key(""))
            self.act(name)
            self.heard.append(name)


@pytest.fixture
async def place(kafka_bootstrap_servers: str) -> AsyncIterator[Place]:
    """Return a group without members."""
    bus = KafkaBus(kafka_bootstrap_servers, client_id="test", clock=CLOCK)
    await bus.admin().ensure_topics([TOPIC])
    producer = bus.producer()
    await producer.start()
    yield Place(kafka_bootstrap_servers, producer)
    await producer.stop()


@asynccontextmanager
async def running(worker: FaustWorker) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker; at the end stop it, and raise what it raised unless the test awaited that itself."""
    stop = Stop()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield task
    finally:
        stop.set("the test is over")
        await asyncio.wait({task}, timeout=DEADLINE_S)
    await task


async def until(condition: Callable[[], bool], what: str, task: asyncio.Task[None] | None = None) -> None:
    """Return when the condition holds; fail with `what` after the deadline, or as soon as the worker ends."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                if task is not None and task.done():
                    task.result()
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {DEADLINE_S} s: {what}")


async def test_a_record_is_handled_whole_and_once(place: Place) -> None:
    """Key, value, headers and place of a record reach the handler, it is counted, and the worker is ready."""
    worker, health = place.worker()
    heard: list[Record] = []

    async def hear(record: Record) -> None:
        if place.owns(record):
            heard.append(record)

    worker.listen(TOPIC, hear)
    assert not health.ready()
    before = collector(EVENTS_IN).labels(TOPIC)._value.get()
    await place.send("one", ce_id="7")
    async with running(worker) as task:
        await until(lambda: bool(heard) and health.ready(), "a record", task)
    (record,) = heard
    assert (record.topic, record.key) == (TOPIC, place.key("one").encode())
    assert Rollback.model_validate_json(record.value or b"").rollback_id == place.key("one")
    assert dict(record.headers)["ce_id"] == b"7"
    assert record.timestamp_ms == pytest.approx(CLOCK.now_ms(), abs=60_000)
    assert collector(EVENTS_IN).labels(TOPIC)._value.get() > before
    assert collector(HANDLER_DURATION).labels(TOPIC)._sum.get() >= 0


async def test_a_failing_handler_ends_the_worker_and_its_record_comes_again(place: Place) -> None:
    """What was handled before is not repeated; the record that failed is the next worker's first."""

    def fail(name: str) -> None:
        if name == "bad":
            raise ValueError("a defect")

    first, _ = place.worker()
    before = Ear(place, act=fail)
    first.listen(TOPIC, before)
    for name in ("good", "bad", "after"):
        await place.send(name)
    with pytest.raises(ValueError, match="a defect"):
        async with asyncio.timeout(DEADLINE_S):
            await first.run(Stop())
    assert before.heard == ["good"]
    second, _ = place.worker()
    after = Ear(place)
    second.listen(TOPIC, after)
    async with running(second) as task:
        await until(lambda: len(after.heard) >= 2, "the record again", task)
    assert after.heard == ["bad", "after"]


async def test_retryable_is_tried_again_in_its_place(place: Place) -> None:
    """The record is handed over until it is taken, those behind it wait, and health says why meanwhile."""
    worker, health = place.worker()
    attempts: list[str] = []
    reasons: list[str] = []

    def refuse_twice(name: str) -> None:
        attempts.append(name)
        reasons.append(health.reasons().get(TOPIC, ""))
        if len(attempts) < 3:
            raise Retryable("the database is away")

    ear = Ear(place, act=refuse_twice)
    worker.listen(TOPIC, ear)
    await place.send("one")
    await place.send("two")
    async with running(worker) as task:
        await until(lambda: len(ear.heard) == 2, "both records", task)
        assert TOPIC not in health.reasons()
    assert attempts == ["one", "one", "one", "two"]
    assert reasons == ["", "the database is away", "the database is away", ""]


async def test_one_of_two_leads_and_the_other_follows_it(place: Place) -> None:
    """Of two workers only one's timer ticks; when that one leaves, the other's does."""
    ticks = [0, 0]
    workers = []
    for number in range(2):
        worker, health = place.worker()

        async def tick(number: int = number) -> None:
            ticks[number] += 1

        worker.listen(TOPIC, Ear(place))
        worker.every(50, tick)
        workers.append((worker, health))
    stops = [Stop(), Stop()]
    tasks = [asyncio.create_task(worker.run(stop)) for (worker, _), stop in zip(workers, stops, strict=True)]
    await until(lambda: all(health.ready() for _, health in workers), "two members", tasks[0])

    async def next_leader() -> int:
        """Return whose timer alone ticked ten times; while the group moves two may overlap."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                before = list(ticks)
                await until(lambda: sum(ticks) >= sum(before) + 10, "ticks")  # noqa: B023
                grown = [now - then for now, then in zip(ticks, before, strict=True)]
                if min(grown) == 0:
                    return grown.index(max(grown))

    leader = await next_leader()
    stops[leader].set("the leader leaves")
    await tasks[leader]
    assert await next_leader() == 1 - leader
    stops[1 - leader].set("the test is over")
    await tasks[1 - leader]


async def test_it_stops_within_five_seconds_of_being_told(place: Place) -> None:
    """A handler at work ends what it is at, no other begins, and the worker is gone in less than 5 s."""
    worker, _ = place.worker()
    begun, ended, stop = [], [], Stop()

    async def slow(record: Record) -> None:
        if place.owns(record):
            begun.append(record.key)
            await stop.wait()
            await asyncio.sleep(0.05)
            ended.append(record.key)

    worker.listen(TOPIC, slow)
    await place.send("one")
    await place.send("two")
    task = asyncio.create_task(worker.run(stop))
    await until(lambda: bool(begun), "a handler at work", task)
    told_ms = CLOCK.monotonic_ms()
    stop.set("the test is over")
    await task
    assert CLOCK.monotonic_ms() - told_ms < 5_000
    assert begun == ended == [place.key("one").encode()]


async def test_a_consumer_that_stands_still_ends_the_worker(place: Place) -> None:
    """When records wait, nobody is at work and nothing is read, run() raises and says what waits."""
    worker, _ = place.worker(stall_ms=4_000)
    ear = Ear(place)
    worker.listen(TOPIC, ear)
    await place.send("one")
    task = asyncio.create_task(worker.run(Stop()))
    await until(lambda: bool(ear.heard), "a record", task)
    consumer = worker._app.consumer
    consumer.pause_partitions(consumer.assignment())
    async with asyncio.timeout(DEADLINE_S):
        while not task.done():
            await place.send("unread")
            await asyncio.wait({task}, timeout=0.2)
    with pytest.raises(Retryable, match=rf"stands still for 4000 ms: {TOPIC}-0: \d+ records"):
        await task
