"""Snapshots that are taken while the line works on."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.partitions.held import Held
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.saver import Saver


class Yard:
    """One partition with nine units, its owner, and a saver; `cut()` counts the chunks that were made."""

    def __init__(self, shop: Any, state: Any, lease: Any) -> None:
        self.store = shop.store
        self.state = state
        self.own: Ownership[Any] = Ownership(shop.store, shop.build, "me", shop.clock, 1_000)
        self.held: Held[Any] = Held(lease, state, {"exposures": 9}, {"exposures": 9}, {}, 0)
        self.own.held[lease.partition] = self.held
        self.saver: Saver[Any] = Saver(shop.store, self.own)
        self.cuts: list[int] = []
        self.closed = False
        self._dump = state.dump
        state.dump = self._watched

    def _watched(self) -> Iterator[bytes]:
        chunks = self._dump()

        def watch() -> Iterator[bytes]:
            try:
                for number, chunk in enumerate(chunks):
                    self.cuts.append(number)
                    yield chunk
            finally:
                self.closed = True

        return watch()

    async def until_cut(self, count: int) -> None:
        """Return when so many chunks were made."""
        async with asyncio.timeout(20):
            while len(self.cuts) < count:  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest.fixture
async def yard(shop: Any) -> Yard:
    state = shop.build(0, None)
    for number in range(9):
        state.correct(f"unit-{number}", 1)
    return Yard(shop, state, await shop.store.acquire(0, "me"))


class Unwanted:
    """A dump of which nobody takes a chunk."""

    closed = False

    def __init__(self) -> None:
        Unwanted.closed = False

    def __iter__(self) -> "Unwanted":
        return self

    def __next__(self) -> bytes:
        raise AssertionError("nobody asked for it")

    def close(self) -> None:
        """Note it."""
        Unwanted.closed = True


def fold(yard: Yard) -> None:
    """Fold one more record of every unit."""
    for number in range(9):
        offset = yard.held.offsets["exposures"]
        record = Record("exposures", 0, offset, 0, f"unit-{number}".encode(), b"5")
        yard.held.fold("exposures", Batch.of([record]))


async def test_folding_goes_on(yard: Yard) -> None:
    """A snapshot holds the state and the offsets of the moment it was asked for, though records were folded
    between its chunks."""
    yard.saver.save(yard.held)
    await yard.until_cut(2)
    assert len(yard.cuts) < 9, "the loop was free before the last chunk"
    fold(yard)
    await yard.saver.wait()
    lease = await yard.store.acquire(0, "another")
    assert lease.snapshot_offsets == {"exposures": 9}
    assert yard.own.factory(0, lease.snapshot).sums == {f"unit-{number}": 1 for number in range(9)}
    assert yard.held.saved == {"exposures": 9}
    assert yard.held.offsets == {"exposures": 18}
    assert yard.closed


@pytest.mark.parametrize("loss", ["parked", "dropped", "taken over"])
async def test_a_partition_that_goes(yard: Yard, loss: str) -> None:
    """A partition that is lost while its dump is taken is saved no more, and the dump is closed."""
    yard.saver.save(yard.held)
    await yard.until_cut(2)
    if loss == "parked":
        yard.own.park(0)
    elif loss == "dropped":
        yard.own.drop(0)
    else:
        yard.held.lease = await yard.store.acquire(0, "me")
    await yard.saver.wait()
    assert yard.store.snapshot_offsets(0) == []
    assert len(yard.cuts) < 9
    assert (yard.closed, yard.held.saved, yard.saver.trouble) == (True, {}, "")


async def test_waits_for_the_rows(yard: Yard) -> None:
    """A snapshot is not saved before the store has taken the rows of the same moment; it is that moment's,
    whatever is folded meanwhile."""
    answer = asyncio.Event()

    async def publish() -> bool:
        await answer.wait()
        return True

    yard.saver.save(yard.held, asyncio.create_task(publish()))
    fold(yard)
    await asyncio.wait([yard.saver._task], timeout=0.1)
    assert (yard.saver.idle, yard.store.snapshot_offsets(0)) == (False, [])
    answer.set()
    await yard.saver.wait()
    assert yard.store.snapshot_offsets(0) == [{"exposures": 9}]
    lease = await yard.store.acquire(0, "another")
    assert yard.own.factory(0, lease.snapshot).sums == {f"unit-{number}": 1 for number in range(9)}


@pytest.mark.parametrize("end", ["an outage", "a defect", "given up"])
async def test_rows_that_were_not_taken(yard: Yard, end: str) -> None:
    """There is no snapshot of them, and its dump is closed; the error is somebody else's to raise."""

    async def publish() -> bool:
        if end == "a defect":
            raise KeyError("a defect")
        return False

    yard.state.dump = Unwanted
    publishing = asyncio.create_task(publish())
    yard.saver.save(yard.held, publishing)
    if end == "given up":
        publishing.cancel()
    await yard.saver.wait()
    yard.saver.check()
    assert (yard.store.snapshot_offsets(0), Unwanted.closed, yard.saver.trouble) == ([], True, "")


async def test_given_up(yard: Yard) -> None:
    """A snapshot that is given up closes its dump, at whatever point it was."""
    yard.saver.save(yard.held)
    await yard.until_cut(1)
    await yard.saver.cancel()
    assert yard.closed
    assert yard.saver.idle
    assert yard.store.snapshot_offsets(0) == []


async def test_given_up_before_it_began(yard: Yard) -> None:
    """So does one whose task never ran."""
    yard.state.dump = Unwanted
    yard.saver.save(yard.held)
    await yard.saver.cancel()
    assert Unwanted.closed
