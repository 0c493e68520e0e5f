"""The worker's loop and poison: buried once, in order, and not too much of it."""

import asyncio
import json
from typing import Any

import pytest

from libs.common.bus.dead_letters import DeadLetterLimit
from libs.common.bus.memory import MemoryBus
from libs.common.errors import LineStopped
from libs.common.partitions.line import LineSettings


async def test_poison_is_buried_once(shop: Any, some: Any) -> None:
    """Poison goes to dead-letters with its place and reason; a restart that replays it does not bury it
    again."""
    shop.settings = LineSettings(publish_interval_ms=1, fetch_timeout_ms=5, snapshot_interval_ms=60_000)
    await shop.send([*some, ("conversions", "unit-3", "poison"), *some])
    task, _ = await shop.running()
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


async def test_an_end_while_poison_cannot_be_buried(shop: Any, some: Any) -> None:
    """A worker that is told to stop then stops, and leaves that partition as it was published last; the next
    worker buries the poison and publishes the rest."""
    shop.letters_bus = MemoryBus(shop.clock)
    await shop.send(some)
    task, stop = await shop.running()
    await shop.reach(shop.all_published, task)
    published = shop.store.published_offsets(shop.place)
    shop.letters_bus.down()
    await shop.send([("exposures", "unit-2", "poison"), *some])
    await shop.reach(lambda: not shop.health.ready(), task)
    stop.set("enough")
    await task
    assert shop.store.published_offsets(shop.place) == published
    assert shop.store.snapshot_offsets(shop.place)[-1]["exposures"] <= published["exposures"]
    shop.letters_bus.up()
    await shop.work()
    assert shop.result() == shop.truth()
    assert len(shop.letters_bus.records("dead-letters")) == 1


async def test_burying_waits_for_the_bus(shop: Any, some: Any) -> None:
    """Poison that cannot be buried holds the results back, and the loop goes on when the bus is there
    again."""
    await shop.send(some)
    task, stop = await shop.running()
    await shop.reach(shop.all_published, task)
    await shop.send([("exposures", "unit-1", "poison"), *some])
    shop.bus.down()
    await shop.reach(lambda: not shop.health.ready(), task)
    shop.bus.up()
    await shop.reach(shop.all_published, task)
    stop.set("enough")
    await task
    assert shop.result() == shop.truth()
    assert len(shop.bus.records("dead-letters")) == 1
