"""Ingest on the bus and the store in memory: the whole line, killed in the middle."""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.memory import Crash, MemoryBus
from libs.common.bus.ports import Message
from libs.common.clock import ManualClock, SystemClock
from libs.common.lifecycle import Stop
from libs.common.partitions.line import Line, LineSettings
from libs.common.partitions.memory import MemoryPartitionStore
from libs.common.telemetry.health import Health
from libs.common.telemetry.names import EVENTS_IGNORED, collector
from schemas.facts import Conversion, Exposure
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.partition import MetricsPartitions
from services.metrics.domain.rows import ExperimentRow, PartitionRows
from services.metrics.entrypoints.outcomes import count_outcomes, report_outcomes
from tests.unit.metrics.events import (
    T0,
    Event,
    as_reference,
    conversion,
    experiment,
    exposure,
    known,
    topic_of,
)
from tests.world.metrics_reference import Counts, Expected, Reference, reference

QUICK = LineSettings(
    publish_interval_ms=1, snapshot_interval_ms=5, commit_interval_ms=5, fetch_timeout_ms=5, max_records=50
)
TOPICS = ("exposures", "conversions")


def traffic(units: int, seed: int) -> list[Event]:
    """Return events of many units in a random order, some twice, some of them before their exposure."""
    chance = random.Random(seed)
    events: list[Event] = []
    for number in range(units):
        unit, at_ms = f"unit-{number}", chance.randrange(1_000)
        variant = chance.choice("ab")
        events += [exposure(unit, variant, at_ms + later) for later in range(chance.randrange(1, 4))]
        if number % 50 == 0:
            events.append(exposure(unit, "b" if variant == "a" else "a", at_ms + 5))
        events += [
            conversion(unit, at_ms + chance.randrange(-500, 2_500), round(chance.random() * 90, 2))
            for _ in range(chance.randrange(3))
        ]
    events += chance.choices(events, k=len(events) // 10)
    chance.shuffle(events)
    return events


def merged(published: dict[int, list[PartitionRows]]) -> Reference:
    """Return the sums over partitions of each one's last row of experiment x."""
    counts: dict[str, Counts] = {}
    metrics: dict[tuple[str, str], Expected] = {}
    several, latest_ms = 0, 0
    for history in published.values():
        last: dict[str, ExperimentRow] = {row.experiment_id: row for rows in history for row in rows}
        found = as_reference(list(last.values()))
        for variant, each in found.counts.items():
            counts[variant] = Counts(*map(sum, zip(each, counts.get(variant, (0, 0, 0)), strict=True)))
        for key, one in found.metrics.items():
            metrics[key] = Expected(*map(sum, zip(one, metrics.get(key, (0, 0, 0, 0)), strict=True)))
        several += found.multi_variant_units
        latest_ms = max(latest_ms, found.latest_ms)
    return Reference(counts, metrics, several, latest_ms)


async def send(bus: MemoryBus, events: Sequence[Event]) -> None:
    """Append events to their topics."""
    producer = bus.producer()
    await producer.start()
    await producer.send_all([Message(topic_of(e), e.unit_id, e.to_json()) for e in events])
    await producer.stop()


def covered(bus: MemoryBus, store: MemoryPartitionStore[PartitionRows]) -> bool:
    """Return whether the published offsets have reached the end of the log."""
    return all(
        record.offset < store.published_offsets(record.partition).get(topic, 0)
        for topic in TOPICS
        for record in bus.records(topic)
    )


async def line_of(
    bus: MemoryBus, store: MemoryPartitionStore[PartitionRows], definitions: Definitions
) -> Line[PartitionRows]:
    """Return a worker of ingest."""
    clock = SystemClock()
    producer = bus.producer()
    await producer.start()
    return Line(
        bus,
        group="metrics-ingest",
        topics=TOPICS,
        factory=MetricsPartitions(definitions),
        store=store,
        dead_letters=DeadLetters(producer, source="test", clock=clock),
        clock=clock,
        health=Health(clock),
        settings=QUICK,
    )


async def until(condition: Callable[[], bool], task: asyncio.Task[None]) -> None:
    """Return when the condition holds or the task has ended; fail after 20 s."""
    async with asyncio.timeout(20):
        while not condition() and not task.done():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def work(bus: MemoryBus, store: MemoryPartitionStore[PartitionRows]) -> bool:
    """Run one worker until everything is published. Returns False when it was killed before."""
    stop = Stop()
    task = asyncio.create_task((await line_of(bus, store, known("x"))).run(stop))
    await until(lambda: covered(bus, store), task)
    stop.set("the test is over")
    try:
        await task
    except Crash:
        return False
    return True


async def test_a_line_that_is_killed_three_times_publishes_the_truth() -> None:
    """Workers die while reading; the last one's rows, summed over partitions, are the reference's."""
    bus, store = MemoryBus(ManualClock(T0)), MemoryPartitionStore[PartitionRows]()
    events = traffic(600, seed=3)
    await send(bus, events)
    for after in (100, 300, 500):
        bus.crash_at("exposures", after=after, group="metrics-ingest")
        assert not await work(bus, store)
    assert await work(bus, store)
    expected = reference(
        experiment("x"),
        [e for e in events if isinstance(e, Exposure)],
        [e for e in events if isinstance(e, Conversion)],
    )
    assert merged(store.published) == expected
    assert expected.multi_variant_units == 12


async def test_a_definition_that_comes_late_to_a_silent_partition() -> None:
    """Events, of which nothing is published, then their experiment's definition, then nothing: counts and
    metrics are published all the same, with the offsets that they were counted at, and once."""
    bus, store = MemoryBus(ManualClock(T0)), MemoryPartitionStore[PartitionRows]()
    definitions, stop = Definitions(), Stop()
    await send(bus, [exposure("u1", "a", 0), conversion("u1", 5, 2.0)])
    task = asyncio.create_task((await line_of(bus, store, definitions)).run(stop))
    await until(lambda: covered(bus, store), task)
    assert merged(store.published).counts == {}
    definitions.keep(experiment("x"))
    await until(lambda: merged(store.published).metrics != {}, task)
    stop.set("the metrics are published")
    await task
    after = merged(store.published)
    assert after.counts == {"a": Counts(1, 1, 1)}
    assert after.metrics["a", "revenue"] == Expected(1, 1, 2_000_000, 4_000_000_000_000)
    (published,) = store.published.values()
    assert sum(bool(row.metrics) for rows in published for row in rows) == 1


async def test_poison_goes_to_dead_letters_and_the_rest_is_counted() -> None:
    """A broken record is buried once; its neighbours are in the rows."""
    bus, store = MemoryBus(ManualClock(T0)), MemoryPartitionStore[PartitionRows]()
    await send(bus, [exposure("u1", "a", 0)])
    producer = bus.producer()
    await producer.start()
    await producer.send(Message("exposures", "u1", b'{"type":"exposure","unit_id":NaN}'))
    await send(bus, [exposure("u2", "a", 0)])
    assert await work(bus, store)
    assert len(bus.records("dead-letters")) == 1
    assert merged(store.published).counts == {"a": Counts(2, 2, 0)}


async def test_limits_that_are_met_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """A warning names the limit and the count, once per change."""
    outcomes, stop = Outcomes(), Stop()
    task = asyncio.create_task(report_outcomes(outcomes, stop, interval_ms=1))
    await asyncio.sleep(0)
    outcomes.over_units = 3
    async with asyncio.timeout(5):
        while "over_units" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    stop.set("said")
    await task


async def test_ignored_events_are_counted_for_telemetry() -> None:
    """Each reason's counter grows by what is new, the last of it when the process stops."""
    outcomes, stop = Outcomes(duplicates=2), Stop()
    counter = collector(EVENTS_IGNORED)
    before = {reason: counter.labels(reason)._value.get() for reason in ("duplicates", "over_units")}

    def grown(reason: str) -> float:
        return counter.labels(reason)._value.get() - before[reason]

    task = asyncio.create_task(count_outcomes(outcomes, stop, interval_ms=1))
    await until(lambda: grown("duplicates") == 2, task)
    outcomes.duplicates = 5
    outcomes.over_units = 1
    stop.set("counted")
    await task
    assert (grown("duplicates"), grown("over_units")) == (5, 1)
