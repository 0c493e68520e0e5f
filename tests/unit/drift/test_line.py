"""Ingest on the product's own memory bus and store: a crash anywhere changes nothing."""

import asyncio
import random
from collections.abc import Callable

import pytest

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.memory import Crash, MemoryBus
from libs.common.bus.ports import Message, Record
from libs.common.clock import SystemClock
from libs.common.lifecycle import Stop
from libs.common.partitions.line import Line, LineSettings
from libs.common.partitions.memory import MemoryPartitionStore
from libs.common.telemetry.health import Health
from services.drift.adapters.memory import MemoryLedger
from services.drift.domain.partition import DriftPartition, IngestLimits
from services.drift.domain.rows import DriftRows, Tally, VersionKey

Make = Callable[..., Record]
TOPICS = ("predictions", "feedback")
NUMBER = 300


async def _fill(bus: MemoryBus, prediction: Make, feedback: Make) -> None:
    producer = bus.producer()
    await producer.start()
    records = [prediction(each, each * 20) for each in range(NUMBER)]
    records += [feedback(each, each * 20 + 500, label="ab"[each % 3 == 0]) for each in range(NUMBER)]
    random.Random(1).shuffle(records)
    await producer.send_all(
        [Message(each.topic, f"u{each.offset % 7}", each.value) for each in records + records[:100]]
    )
    await producer.stop()


async def _work(bus: MemoryBus, store: MemoryPartitionStore[DriftRows], limits: IngestLimits) -> None:
    """Run one worker until everything is published, or it dies."""
    clock, stop = SystemClock(), Stop()
    producer = bus.producer()
    await producer.start()
    line = Line(
        bus,
        group="drift-ingest",
        topics=TOPICS,
        factory=lambda partition, dump: DriftPartition(limits, dump),
        store=store,
        dead_letters=DeadLetters(producer, source="drift", clock=clock),
        clock=clock,
        health=Health(clock),
        settings=LineSettings(publish_interval_ms=1, snapshot_interval_ms=5, max_records=50),
    )
    running = asyncio.ensure_future(line.run(stop))
    ends = {topic: [sum(r.partition == n for r in bus.records(topic)) for n in range(4)] for topic in TOPICS}
    try:
        async with asyncio.timeout(20):
            while not running.done():
                covered = [store.published_offsets(number) for number in range(4)]
                if all(covered[n].get(topic, 0) >= ends[topic][n] for n in range(4) for topic in TOPICS):
                    break
                await asyncio.sleep(0.01)
    finally:
        stop.set("the test is over")
    await running


async def _outcome(store: MemoryPartitionStore[DriftRows]) -> tuple[dict[VersionKey, list[Tally]], set[str]]:
    ledger = MemoryLedger(store.published)
    tallies = {key: list(each) for key, each in (await ledger.tallies()).items()}
    rows = [each for published in store.published.values() for each in published]
    return tallies, {example.prediction_id for each in rows for example in each.examples}


@pytest.mark.parametrize("after", [1, 77, 250, 330])
async def test_a_crash_changes_nothing(
    after: int, prediction: Make, feedback: Make, limits: IngestLimits
) -> None:
    """A worker that dies after any record, and one that takes over, count what one alone counts, and hand out
    every example."""
    quiet_bus, quiet = MemoryBus(SystemClock()), MemoryPartitionStore[DriftRows]()
    await _fill(quiet_bus, prediction, feedback)
    await _work(quiet_bus, quiet, limits)
    bus, store = MemoryBus(SystemClock()), MemoryPartitionStore[DriftRows]()
    await _fill(bus, prediction, feedback)
    bus.crash_at("predictions", after=after)
    with pytest.raises(Crash):
        await _work(bus, store, limits)
    await _work(bus, store, limits)
    tallies, examples = await _outcome(store)
    assert (tallies, examples) == await _outcome(quiet)
    assert sum(each.labelled for each in tallies[VersionKey("digits", "1")]) == NUMBER == len(examples)
