"""The worker's loop: outages, fences, poison, slow folds, and an orderly end."""

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from libs.common.bus.batches import Batch
from libs.common.bus.ports import TopicPartition
from libs.common.errors import Misconfigured
from libs.common.lifecycle import Stop
from libs.common.partitions.counts import PARTITIONS
from libs.common.partitions.lag import Lag
from libs.common.partitions.line import PART, LineSettings
from libs.common.partitions.snapshots import seal


async def test_an_orderly_end(shop: Any, some: Any) -> None:
    """Told to stop, the worker publishes, snapshots and commits what it has, and leaves the rest of the
    log."""
    shop.settings = LineSettings(publish_interval_ms=60_000, fetch_timeout_ms=5)
    await shop.send(some)
    built = shop.store
    task, stop = await shop.running()
    await shop.reach(lambda: len(shop.built) == 4, task)
    await shop.reach(lambda: shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    for (topic, number), end in shop.ends():
        assert built.snapshot_offsets(number)[-1][topic] == end
        assert shop.bus.committed("counters")[TopicPartition(topic, number)] == end


async def test_a_restart_reads_nothing_twice(shop: Any, some: Any) -> None:
    """After an orderly end the next worker goes on where the last one stopped, and publishes only what is
    new."""
    await shop.send(some)
    await shop.work()
    before = {number: len(rows) for number, rows in shop.store.published.items()}
    await shop.send([("conversions", "unit-1", "5")])
    await shop.work()
    assert shop.result() == shop.truth()
    new = [rows for number, all_rows in shop.store.published.items() for rows in all_rows[before[number] :]]
    assert new == [{"unit-1": shop.truth()["unit-1"]}]


async def test_fenced(shop: Any, some: Any) -> None:
    """When somebody else takes a partition, the worker writes no more with its old epoch, joins again, and
    the result is the truth."""
    await shop.send(some)
    task, stop = await shop.running()
    await shop.reach(shop.all_published, task)
    for number in range(4):
        await shop.store.acquire(number, "a stranger")
    await shop.send(some)
    await shop.reach(shop.all_published, task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    assert shop.went_backwards() == []
    assert all(2 not in epochs for epochs in shop.store.epochs.values()), "epoch 2 was the stranger's"


async def test_expelled(shop: Any, some: Any) -> None:
    """A member that the group has thrown out (a failed commit) joins again and loses nothing."""
    await shop.send(some)
    line = await shop.line()
    stop = Stop()
    task = asyncio.create_task(line.run(stop))
    for _ in range(3):
        await shop.reach(shop.all_published, task)
        line._own.consumer.expel()
        await shop.send(some)
    await shop.reach(shop.all_published, task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    assert shop.went_backwards() == []


async def test_the_store_is_away(shop: Any, some: Any) -> None:
    """While the store does not answer, folding goes on and health says why nothing comes; then the rows
    follow."""
    await shop.send(some)
    task, stop = await shop.running()
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    shop.store.down()
    await shop.send(some)
    await shop.reach(lambda: not shop.health.ready(), task)
    assert "does not answer" in shop.health.reasons()[PART]
    shop.store.up()
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()


async def test_the_store_is_away_at_the_start(shop: Any, some: Any) -> None:
    """A worker that starts before its store waits for it."""
    shop.store.down()
    await shop.send(some)
    task, stop = await shop.running()
    await shop.reach(lambda: "does not answer" in shop.health.reasons().get(PART, ""), task)
    shop.store.up()
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()


async def test_the_bus_is_away(shop: Any, some: Any) -> None:
    """An outage of the bus is waited for; states are kept and not built again."""
    await shop.send(some)
    task, stop = await shop.running()
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    shop.bus.down()
    await shop.reach(lambda: not shop.health.ready(), task)
    shop.bus.up()
    await shop.send(some)
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    assert sorted(shop.built) == [0, 1, 2, 3]


async def test_retention_has_overtaken(shop: Any, some: Any) -> None:
    """A worker whose records are gone refuses to run and says what to do."""
    await shop.send(some)
    task, _ = await shop.running()
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


async def test_topics_that_were_grown(shop: Any, some: Any) -> None:
    """A worker refuses a state that was built when the topics had another number of partitions, and knows the
    number by itself."""
    await shop.send(some)
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
    task, stop = await shop.running()
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
    tasks = [await shop.running() for _ in range(5)]
    await shop.reach(lambda: shop.health.ready(), *[task for task, _ in tasks])
    for _, stop in tasks:
        stop.set("enough")
    await asyncio.gather(*[task for task, _ in tasks])


async def test_telemetry(shop: Any, some: Any) -> None:
    """The lag of what is held is shown, and no longer when the partition has gone."""
    lag = Lag()
    here, gone = TopicPartition("exposures", 0), TopicPartition("exposures", 1)
    lag.show({here: 3, gone: 1}, {here: 10, gone: 1})
    assert REGISTRY.get_sample_value("trimtab_lag_records", {"topic": "exposures", "partition": "0"}) == 7
    lag.show({here: 10}, {here: 10})
    assert REGISTRY.get_sample_value("trimtab_lag_records", {"topic": "exposures", "partition": "0"}) == 0
    assert REGISTRY.get_sample_value("trimtab_lag_records", {"topic": "exposures", "partition": "1"}) is None
    await shop.send(some)
    await shop.work(until=lambda: shop.all_published() and shop.health.ready())
    assert REGISTRY.get_sample_value("trimtab_leases") == 4
