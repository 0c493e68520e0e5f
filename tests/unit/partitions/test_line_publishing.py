"""The worker's loop and what it writes beside it: rows, leases, snapshots."""

import asyncio
from typing import Any

import pytest

from libs.common.bus.partitioner import partition_of
from libs.common.lifecycle import Stop


async def test_reading_goes_on_while_rows_are_on_their_way(shop: Any, some: Any) -> None:
    """A publish that takes its time holds up neither the reading nor another partition; a stop waits for it,
    and everything is published then, once."""
    shop.store.gates[shop.place] = asyncio.Event()
    task, stop = await shop.running()
    await shop.send(some)
    await shop.reach(lambda: shop.store.waiting[shop.place] == 1, task)
    await shop.send(some)
    await shop.reach(lambda: sum(sum(state.sums.values()) for state in shop.states) == 100, task)
    assert shop.store.published_offsets(shop.place) == {}
    elsewhere = {key for key in shop.truth() if partition_of(key.encode(), 4) != shop.place}
    await shop.reach(lambda: all(shop.result().get(key) == shop.truth()[key] for key in elsewhere), task)
    stop.set("enough")
    await asyncio.wait([task], timeout=0.1)
    assert (task.done(), shop.store.waiting[shop.place]) == (False, 1)
    shop.store.gates.pop(shop.place).set()
    await task
    assert shop.result() == shop.truth()
    assert len(shop.store.published[shop.place]) == 2


async def test_an_end_in_the_middle_of_a_publish(shop: Any, some: Any) -> None:
    """A line that is killed leaves nothing behind that goes on writing."""
    shop.store.gates[shop.place] = asyncio.Event()
    task, _ = await shop.running()
    await shop.send(some)
    await shop.reach(lambda: shop.store.waiting[shop.place] == 1, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert shop.store.waiting[shop.place] == 0


@pytest.mark.parametrize("where", ["to another worker", "and back"])
async def test_a_partition_goes_in_the_middle_of_a_publish(shop: Any, some: Any, where: str) -> None:
    """When a partition goes to another worker while its rows are on their way, they are replayed there; when
    it comes back, they are written under the new lease. Nothing is lost, and nothing doubled."""
    await shop.send(some)
    line, stop = await shop.line(), Stop()
    tasks = [asyncio.create_task(line.run(stop))]
    await shop.reach(shop.all_published, *tasks)
    places = {number for (_, number), _ in shop.ends()}
    shop.store.gates |= {number: asyncio.Event() for number in places}
    await shop.send(some)
    await shop.reach(lambda: all(shop.store.waiting[number] for number in places), *tasks)
    epochs = {number: shop.store.lease_epoch(number) for number in places}
    if where == "and back":
        line._own.consumer.expel()
    else:
        tasks.append(asyncio.create_task((await shop.line()).run(stop)))
    await shop.reach(
        lambda: any(shop.store.lease_epoch(number) > epochs[number] for number in places), *tasks
    )
    for number in places:
        shop.store.gates.pop(number).set()
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), *tasks)
    stop.set("enough")
    await asyncio.gather(*tasks)
    assert shop.result() == shop.truth()
    assert shop.went_backwards() == []
    assert all(written == sorted(written) for written in shop.store.epochs.values())


async def test_a_loss_is_noticed_without_traffic(shop: Any, some: Any) -> None:
    """A worker that has nothing to publish renews its leases, learns that one is lost, and joins again."""
    await shop.send(some)
    task, stop = await shop.running()
    await shop.reach(lambda: shop.all_published() and shop.health.ready(), task)
    await shop.store.acquire(shop.place, "a stranger")
    await shop.reach(lambda: shop.built.count(shop.place) == 2, task)
    stop.set("enough")
    await task


async def test_a_defect_in_a_publish_ends_the_line(
    shop: Any, some: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is neither a fence nor an outage is not swallowed, though it happens beside the loop."""

    async def broken(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(shop.store, "publish", broken)
    await shop.send(some)
    task, _ = await shop.running()
    with pytest.raises(KeyError, match="a defect"):
        await asyncio.wait_for(task, 20)


async def test_a_defect_in_a_snapshot_ends_the_line(
    shop: Any, some: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does one in a snapshot."""

    async def broken(*_: object) -> None:
        raise KeyError("a defect")

    await shop.send(some)
    task, _ = await shop.running()
    await shop.reach(shop.all_published, task)
    monkeypatch.setattr(shop.store, "save_snapshot", broken)
    await shop.send(some)
    with pytest.raises(KeyError, match="a defect"):
        await asyncio.wait_for(task, 20)
