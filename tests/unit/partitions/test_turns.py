"""What a line does every few seconds: it saves those whose turn it is, and marks the log."""

from typing import Any

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.clock import ManualClock
from libs.common.partitions.held import Held
from libs.common.partitions.line import LineSettings

COUNT = 4
INTERVAL_MS = 30_000


async def test_nobody_is_starved(workshop: Any) -> None:
    """When only two snapshots can be written in the time in which all partitions become due again, each
    partition has its turn all the same: the one that has waited longest is next."""
    clock = ManualClock()
    shop = workshop(clock=clock, settings=LineSettings(snapshot_interval_ms=INTERVAL_MS))
    line = await shop.line()
    for number in range(COUNT):
        lease = await shop.store.acquire(number, "me")
        state = shop.build(number, None)
        due_ms = clock.monotonic_ms() + INTERVAL_MS
        line._own.held[number] = Held(lease, state, start(), start(), start(), due_ms)
    turns = []
    for offset in range(2 * COUNT):
        clock.advance(INTERVAL_MS // 2)
        for number in range(COUNT):
            record = Record("exposures", number, offset, 0, b"unit", b"1")
            line._own.held[number].fold("exposures", Batch.of([record]))
            line._own.held[number].passages.clear()
        line._publish(clock.monotonic_ms())
        await line._publisher.end()
        await line._saver.wait()
        turns.append(newest(shop, offset + 1))
    assert turns == [None, 0, 1, 2, 3, 0, 1, 2]


async def test_states_are_told_how_far_they_have_read(workshop: Any) -> None:
    """A worker that has read all there is marks the log again and again, in every partition."""
    shop = workshop()
    await shop.send([("exposures", f"unit-{number}", "1") for number in range(8)])
    await shop.work(lambda: len(shop.states) == COUNT and all(each.marks > 2 for each in shop.states))


def newest(shop: Any, offset: int) -> int | None:
    """Return the partition whose newest snapshot ends at this offset."""
    for number in range(COUNT):
        kept = shop.store.snapshot_offsets(number)
        if kept and kept[-1] == {"exposures": offset}:
            return number
    return None


def start() -> dict[str, int]:
    """Return where every partition begins."""
    return {"exposures": 0}
