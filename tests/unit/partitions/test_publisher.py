"""Rows are written while the line folds on."""

import asyncio
from typing import Any

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.ports import Record
from libs.common.errors import Retryable
from libs.common.partitions import publisher as module
from libs.common.partitions.burial import Burial
from libs.common.partitions.held import Held
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.ports import Lease
from libs.common.partitions.publisher import Publisher

COUNT = 2


class Desk:
    """Two partitions that are ours, and a publisher."""

    def __init__(self, shop: Any, leases: list[Lease], letters: DeadLetters) -> None:
        self.store = shop.store
        self.own: Ownership[Any] = Ownership(shop.store, shop.build, "me", shop.clock, 1_000)
        for lease in leases:
            held: Held[Any] = Held(
                lease, shop.build(lease.partition, None), {"exposures": 0}, {"exposures": 0}, {}, 0
            )
            self.own.held[lease.partition] = held
        self.burial: Burial[Any] = Burial(letters, self.own)
        self.publisher: Publisher[Any] = Publisher(shop.store, self.own, self.burial)
        self.bus = shop.bus

    def fold(self, number: int, value: bytes = b"1") -> None:
        """Fold one more record."""
        held = self.own.held[number]
        record = Record("exposures", number, held.offsets["exposures"], 0, b"unit", value)
        held.fold("exposures", Batch.of([record]))

    def close(self, number: int) -> None:
        """Let every publish of this partition wait."""
        self.store.gates[number] = asyncio.Event()

    def open(self, number: int) -> None:
        """Let those that wait go on, and all after them."""
        self.store.gates.pop(number).set()

    async def until_waiting(self, number: int) -> None:
        """Return when a publish of this partition waits."""
        async with asyncio.timeout(20):
            while not self.store.waiting[number]:  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest.fixture
async def desk(workshop: Any) -> Desk:
    shop = workshop()
    leases = [await shop.store.acquire(number, "me") for number in range(COUNT)]
    return Desk(shop, leases, await shop.dead_letters())


async def test_folding_goes_on(desk: Desk) -> None:
    """What is folded while rows are on their way is not in them and not covered by them: it comes with the
    next, and these wait for their turn."""
    desk.close(0)
    desk.fold(0)
    desk.publisher.publish()
    await desk.until_waiting(0)
    desk.fold(0)
    desk.publisher.publish()
    desk.open(0)
    await desk.publisher.end()
    assert (desk.store.published[0], desk.store.published_offsets(0)) == ([{"unit": 1}], {"exposures": 1})
    desk.publisher.publish()
    await desk.publisher.end()
    assert desk.store.published[0] == [{"unit": 1}, {"unit": 2}]
    assert desk.store.published_offsets(0) == {"exposures": 2}


async def test_one_that_is_slow_holds_up_no_other(desk: Desk) -> None:
    """While the rows of one partition wait, those of another are written again and again."""
    desk.close(0)
    desk.fold(0)
    for total in range(1, 4):
        desk.fold(1)
        desk.publisher.publish()
        await desk.until_waiting(0)
        task = desk.publisher.under_way(desk.own.held[1])
        assert task is not None
        assert await task
        assert desk.store.published[1][-1] == {"unit": total}
    desk.open(0)
    await desk.publisher.end()
    assert desk.store.published[0] == [{"unit": 1}]


async def test_rows_beyond_poison_wait_for_its_burial(desk: Desk) -> None:
    """They are written when it is buried, and not before; those of other partitions do not wait."""
    held = desk.own.held[0]
    for value in (b"1", b"bad", b"1"):
        desk.fold(0, value)
    desk.fold(1)
    desk.bus.down()
    desk.publisher.publish()
    writing, other = desk.publisher.under_way(held), desk.publisher.under_way(desk.own.held[1])
    assert writing is not None
    assert other is not None
    assert await other
    with pytest.raises(Retryable):
        await desk.burial.bury()
    desk.bus.up()
    await asyncio.wait([writing], timeout=0.05)
    assert (writing.done(), desk.store.published) == (False, {1: [{"unit": 1}]})
    await desk.burial.bury()
    assert await writing
    assert desk.store.published[0] == [{"unit": 2}]


async def test_an_outage(desk: Desk) -> None:
    """Rows that the store does not take are kept and go first; what is in the way is told until then, and not
    when the partition has gone."""
    desk.store.down()
    for number in range(COUNT):
        desk.fold(number)
    desk.publisher.publish()
    await desk.publisher.end()
    assert "does not answer" in desk.publisher.trouble
    desk.own.drop(1)
    desk.fold(0)
    desk.store.up()
    desk.publisher.publish()
    assert "does not answer" in desk.publisher.trouble, "nothing is written yet"
    await desk.publisher.end()
    assert (desk.store.published, desk.publisher.trouble) == ({0: [{"unit": 1}]}, "")
    desk.publisher.publish()
    await desk.publisher.end()
    assert desk.store.published == {0: [{"unit": 1}, {"unit": 2}]}


async def test_fenced(desk: Desk) -> None:
    """A partition that somebody else has taken is dropped when its rows are refused; the others stay."""
    await desk.store.acquire(0, "a stranger")
    for number in range(COUNT):
        desk.fold(number)
    desk.publisher.publish()
    await desk.publisher.end()
    assert list(desk.own.held) == [1]
    assert desk.store.published == {1: [{"unit": 1}]}


async def test_taken_over_again_meanwhile(desk: Desk) -> None:
    """When the group takes a partition away and gives it back while rows are on their way, these are fenced,
    which says nothing of the new lease: the partition stays, and the rows are written with it."""
    desk.close(0)
    desk.fold(0)
    desk.publisher.publish()
    await desk.until_waiting(0)
    held = desk.own.held[0]
    desk.own.park(0)
    held.lease = await desk.store.acquire(0, "me")
    desk.own.held[0] = held
    desk.open(0)
    await desk.publisher.end()
    assert (desk.own.held.get(0), desk.store.published) == (held, {})
    desk.publisher.publish()
    await desk.publisher.end()
    assert desk.store.published == {0: [{"unit": 1}]}
    assert desk.store.epochs == {0: [2]}


async def test_a_write_that_takes_too_long(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, told, and tried again."""
    monkeypatch.setattr(module, "LONGEST_MS", 1)
    desk.close(0)
    desk.fold(0)
    desk.publisher.publish()
    await desk.publisher.end()
    assert "under way for 1 ms" in desk.publisher.trouble
    monkeypatch.undo()
    desk.open(0)
    desk.publisher.publish()
    await desk.publisher.end()
    assert (desk.store.published, desk.publisher.trouble) == ({0: [{"unit": 1}]}, "")


async def test_a_defect_is_raised(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is neither a fence nor an outage is raised by whatever is asked next, once."""

    async def broken(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(desk.store, "publish", broken)
    desk.fold(0)
    desk.publisher.publish()
    with pytest.raises(KeyError, match="a defect"):
        await desk.publisher.end()
    desk.publisher.check()


async def test_leases_are_renewed(desk: Desk) -> None:
    """Those of partitions that have nothing to publish too: one that is lost is dropped then. A publish that
    is under way renews its own."""
    desk.close(1)
    desk.fold(1)
    desk.publisher.publish()
    await desk.until_waiting(1)
    publishing = desk.publisher.under_way(desk.own.held[1])
    await desk.store.acquire(0, "a stranger")
    desk.publisher.renew()
    assert desk.publisher.under_way(desk.own.held[1]) is publishing
    desk.open(1)
    await desk.publisher.end()
    assert list(desk.own.held) == [1]


async def test_rows_that_wait_go_with_a_renewal(desk: Desk) -> None:
    """What is under way for a partition with rows that were not taken is their write, and never a mere
    renewal: a snapshot waits for it."""
    held = desk.own.held[0]
    desk.fold(0)
    desk.store.down()
    desk.publisher.publish()
    await desk.publisher.end()
    desk.publisher.renew()
    writing = desk.publisher.under_way(held)
    assert writing is not None
    assert held.worth_a_snapshot()
    assert not await writing
    assert "does not answer" in desk.publisher.trouble
    desk.store.up()
    desk.publisher.renew()
    await desk.publisher.end()
    assert (desk.store.published, desk.publisher.trouble) == ({0: [{"unit": 1}]}, "")


async def test_a_slow_write_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is under way, and no longer."""
    desk.close(0)
    desk.fold(0)
    desk.publisher.publish()
    await desk.until_waiting(0)
    assert desk.publisher.trouble == ""
    monkeypatch.setattr(module, "SLOW_MS", 0)
    assert "partition 0" in desk.publisher.trouble
    desk.open(0)
    await desk.publisher.end()
    assert desk.publisher.trouble == ""


async def test_a_defect_is_not_lost_when_one_gives_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When nobody asks any more what ended a write, it is logged."""

    async def broken(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(desk.store, "publish", broken)
    desk.fold(0)
    desk.publisher.publish()
    await asyncio.sleep(0)
    await desk.publisher.cancel()
    assert "a publish, given up, had failed: 'a defect'" in caplog.text


async def test_given_up(desk: Desk) -> None:
    """Rows whose write is given up are not forgotten: they are the first to be written afterwards."""
    desk.close(0)
    desk.fold(0)
    desk.publisher.publish()
    await desk.until_waiting(0)
    await desk.publisher.cancel()
    assert (desk.store.waiting[0], desk.store.published) == (0, {})
    desk.open(0)
    desk.publisher.publish()
    await desk.publisher.end()
    assert desk.store.published == {0: [{"unit": 1}]}
