"""The worker's loop: outages, fences, poison, slow folds, and an orderly end."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client import REGISTRY

from libs.common.bus.batches import Batch
from libs.common.bus.dead_letters import DeadLetterLimit
from libs.common.bus.ports import TopicPartition
from libs.common.errors import LineStopped, Misconfigured
from libs.common.lifecycle import Stop
from libs.common.partitions.counts import PARTITIONS
from libs.common.partitions.lag import Lag
from libs.common.partitions.line import PART, LineSettings
from libs.common.partitions.snapshots import seal

SOME = [("exposures", f"unit-{number % 7}", "1") for number in range(50)]


@pytest.fixture
async def shop(workshop: Any) -> Any:
    return workshop()


async def running(shop: Any) -> tuple[asyncio.Task[None], Stop]:
    stop = Stop()
    return asyncio.create_task((await shop.line()).run(stop)), stop


async def test_an_orderly_end(shop: Any) -> None:
    """Told to stop, the worker publishes, snapshots and commits what it has, and leaves the rest of the
    log."""
    shop.settings = LineSettings(publish_interval_ms=60_000, fetch_timeout_ms=5)
    await shop.send(SOME)
    built = shop.store
    task, stop = await running(shop)
    await shop.reach(lambda: len(shop.built) == 4, task)
    await shop.reach(lambda: shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    for (topic, number), end in shop.ends():
        assert built.snapshot_offsets(number)[-1][topic] == end
        assert shop.bus.committed("counters")[TopicPartition(topic, number)] == end


async def test_a_restart_reads_nothing_twice(shop: Any) -> None:
    """After an orderly end the next worker goes on where the last one stopped, and publishes only what is
    new."""
    await shop.send(SOME)
    await shop.work()
    before = {number: len(rows) for number, rows in shop.store.published.items()}
    await shop.send([("conversions", "unit-1", "5")])
    await shop.work()
    assert shop.result() == shop.truth()
    new = [rows for number, all_rows in shop.store.published.items() for rows in all_rows[before[number] :]]
    assert new == [{"unit-1": shop.truth()["unit-1"]}]


async def test_fenced(shop: Any) -> None:
    """When somebody else takes a partition, the worker writes no more with its old epoch, joins again, and
    the result is the truth."""
    await shop.send(SOME)
    task, stop = await running(shop)
    await shop.reach(shop.all_published, task)
    for number in range(4):
        await shop.store.acquire(number, "a stranger")
    await shop.send(SOME)
    await shop.reach(shop.all_published, task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    assert shop.went_backwards() == []
    assert all(2 not in epochs for epochs in shop.store.epochs.values()), "epoch 2 was the stranger's"


async def test_expelled(shop: Any) -> None:
    """A member that the group has thrown out (a failed commit) joins again and loses nothing."""
    await shop.send(SOME)
    line = await shop.line()
    stop = Stop()
    task = asyncio.create_task(line.run(stop))
    for _ in range(3):
        await shop.reach(shop.all_published, task)
        line._own.consumer.expel()
        await shop.send(SOME)
    await shop.reach(shop.all_published, task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    assert shop.went_backwards() == []


async def test_the_store_is_away(shop: Any) -> None:
    """While the store does not answer, folding goes on and health says why nothing comes; then the rows
    follow."""
    await shop.send(SOME)
    task, stop = await running(shop)
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    shop.store.down()
    await shop.send(SOME)
    await shop.reach(lambda: not shop.health.ready(), task)
    assert "does not answer" in shop.health.reasons()[PART]
    shop.store.up()
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()


async def test_the_store_is_away_at_the_start(shop: Any) -> None:
    """A worker that starts before its store waits for it."""
    shop.store.down()
    await shop.send(SOME)
    task, stop = await running(shop)
    await shop.reach(lambda: "does not answer" in shop.health.reasons().get(PART, ""), task)
    shop.store.up()
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()


async def test_the_bus_is_away(shop: Any) -> None:
    """An outage of the bus is waited for; states are kept and not built again."""
    await shop.send(SOME)
    task, stop = await running(shop)
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    shop.bus.down()
    await shop.reach(lambda: not shop.health.ready(), task)
    shop.bus.up()
    await shop.send(SOME)
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    assert sorted(shop.built) == [0, 1, 2, 3]


async def test_poison_is_buried_once(shop: Any) -> None:
    """Poison goes to dead-letters with its place and reason; a restart that replays it does not bury it
    again."""
    shop.settings = LineSettings(publish_interval_ms=1, fetch_timeout_ms=5, snapshot_interval_ms=60_000)
    await shop.send([*SOME, ("conversions", "unit-3", "poison"), *SOME])
    task, _ = await running(shop)
    await shop.reach(shop.all_published, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await shop.work(until=lambda: shop.health.ready())
    letters = [json.loads(record.value) for record in shop.bus.records("dead-letters")]
    assert [(letter["topic"], letter["offset"], letter["reason"]) for letter in letters] == [
        ("conversions", 0, "not a number")
    ]
    assert shop.result() == shop.truth()


async def test_too_much_poison(shop: Any) -> None:
    """Past the limit the line stops with what to do, and nothing of what follows is published."""
    shop.limit = DeadLetterLimit(run=3)
    await shop.send([("exposures", "unit-1", "poison")] * 5 + [("exposures", "unit-1", "1")])
    with pytest.raises(LineStopped, match="more than 3 records in a row"):
        await shop.work()
    assert shop.result() == {}
    assert len(shop.bus.records("dead-letters")) == 3


async def test_poison_among_good_ones(shop: Any) -> None:
    """Poison that lies between good records is no run, though one fetch brings all of it."""
    shop.limit = DeadLetterLimit(run=3, ratio=0.9)
    shop.settings = LineSettings(publish_interval_ms=1, fetch_timeout_ms=5)
    await shop.send([("exposures", "unit-1", value) for value in ["poison", "1"] * 20])
    await shop.work()
    assert shop.result() == {"unit-1": 20}


async def test_burying_waits_for_the_bus(shop: Any) -> None:
    """Poison that cannot be buried holds the results back, and the loop goes on when the bus is there
    again."""
    await shop.send(SOME)
    task, stop = await running(shop)
    await shop.reach(shop.all_published, task)
    await shop.send([("exposures", "unit-1", "poison"), *SOME])
    shop.bus.down()
    await shop.reach(lambda: not shop.health.ready(), task)
    shop.bus.up()
    await shop.reach(shop.all_published, task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    assert len(shop.bus.records("dead-letters")) == 1


async def test_retention_has_overtaken(shop: Any) -> None:
    """A worker whose records are gone refuses to run and says what to do."""
    await shop.send(SOME)
    task, _ = await running(shop)
    await shop.reach(shop.all_published, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for number in range(4):
        shop.bus.forget(TopicPartition("exposures", number), before=1_000)
    for number in range(4):
        lease = await shop.store.acquire(number, "another")
        await shop.store.save_snapshot(lease, seal(number, {"exposures": 0}, [b"{}"]))
    with pytest.raises(Misconfigured, match="retention has overtaken"):
        await shop.work(until=lambda: False)


async def test_topics_that_were_grown(shop: Any) -> None:
    """A worker refuses a state that was built when the topics had another number of partitions, and knows the
    number by itself."""
    await shop.send(SOME)
    await shop.work()
    offsets = shop.store.snapshot_offsets(1)[-1]
    assert offsets[PARTITIONS] == 4
    lease = await shop.store.acquire(1, "another")
    await shop.store.save_snapshot(lease, seal(1, {**offsets, PARTITIONS: 2}, [b"{}"]))
    with pytest.raises(Misconfigured, match="had 2 partitions"):
        await shop.work(until=lambda: False)


async def test_slow_folds_leave_room(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a state folds for seconds, the event loop gets its turn again and again."""
    longest_ms = await longest_pause_ms(shop, monkeypatch, records=3_000, record_ms=0.5)
    assert longest_ms < 800


async def longest_pause_ms(shop: Any, monkeypatch: Any, *, records: int, record_ms: float) -> float:
    """Return the longest time for which the loop was not free."""
    shop.settings = LineSettings(publish_interval_ms=1, fetch_timeout_ms=5)
    state = type(shop.build(0, None))
    fold = state.fold

    def slow(self: Any, topic: str, batch: Batch) -> Any:
        end_ms = shop.clock.monotonic_ms() + record_ms * len(batch)
        while shop.clock.monotonic_ms() < end_ms:
            pass
        return fold(self, topic, batch)

    monkeypatch.setattr(state, "fold", slow)
    await shop.send([("exposures", "unit-1", "1")] * records)
    task, stop = await running(shop)
    longest_ms, last_ms = 0.0, shop.clock.monotonic_ms()
    while not shop.all_published() and not task.done():
        await asyncio.sleep(0)
        longest_ms, last_ms = (
            max(longest_ms, shop.clock.monotonic_ms() - last_ms),
            shop.clock.monotonic_ms(),
        )
    stop.set("enough")
    await task
    return longest_ms


async def test_a_spare_worker_is_ready(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker for whom no partition is left becomes ready too, after a while."""
    monkeypatch.setattr("libs.common.partitions.line.SPARE_AFTER_MS", 1)
    tasks = [await running(shop) for _ in range(5)]
    await shop.reach(lambda: shop.health.ready(), *[task for task, _ in tasks])
    for _, stop in tasks:
        stop.set("enough")
    await asyncio.gather(*[task for task, _ in tasks])


async def test_a_defect_in_the_store_ends_the_line(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is neither a fence nor an outage is not swallowed, though it happens in the
    background."""

    async def broken(*_: object) -> None:
        raise KeyError("a defect")

    await shop.send(SOME)
    task, _ = await running(shop)
    await shop.reach(shop.all_published, task)
    monkeypatch.setattr(shop.store, "save_snapshot", broken)
    await shop.send(SOME)
    with pytest.raises(KeyError, match="a defect"):
        await asyncio.wait_for(task, 20)


async def test_telemetry(shop: Any) -> None:
    """The lag of what is held is shown, and no longer when the partition has gone."""
    lag = Lag()
    here, gone = TopicPartition("exposures", 0), TopicPartition("exposures", 1)
    lag.show({here: 3, gone: 1}, {here: 10, gone: 1})
    assert REGISTRY.get_sample_value("trimtab_lag_records", {"topic": "exposures", "partition": "0"}) == 7
    lag.show({here: 10}, {here: 10})
    assert REGISTRY.get_sample_value("trimtab_lag_records", {"topic": "exposures", "partition": "0"}) == 0
    assert REGISTRY.get_sample_value("trimtab_lag_records", {"topic": "exposures", "partition": "1"}) is None
    await shop.send(SOME)
    await shop.work(until=lambda: shop.all_published() and shop.health.ready())
    assert REGISTRY.get_sample_value("trimtab_leases") == 4
