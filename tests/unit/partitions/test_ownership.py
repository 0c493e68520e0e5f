"""Taking partitions over: where to begin, what may be used again, and when to refuse."""

from typing import Any

import pytest

from libs.common.bus.ports import TopicPartition
from libs.common.errors import Misconfigured, Retryable
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.saver import Saver
from libs.common.partitions.snapshots import seal

EXPOSURES, CONVERSIONS = TopicPartition("exposures", 0), TopicPartition("conversions", 0)
BOTH = frozenset({EXPOSURES, CONVERSIONS})


@pytest.fixture
async def shop(workshop: Any) -> Any:
    """A workshop whose partition 0 holds ten exposures and no conversion."""
    shop = workshop()
    await shop.send([("exposures", "unit-2", "1")] * 10)
    assert {record.partition for record in shop.bus.records("exposures")} == {shop.place}
    return shop


async def ownership(shop: Any, count: int | None = None) -> Ownership[Any]:
    """Return a member that is told that the topics have so many partitions."""
    own: Ownership[Any] = Ownership(shop.store, shop.build, "me", shop.clock, 1_000)
    tell(own, count)
    own.consumer = shop.bus.reader(["exposures", "conversions"])
    await own.consumer.start()
    return own


def tell(own: Ownership[Any], count: int | None) -> None:
    """Let the topics have so many partitions from now on."""

    async def answer() -> int | None:
        return count

    own.count = answer


def places(shop: Any) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(each.topic, shop.place) for each in BOTH)


async def test_a_first_owner_begins_at_the_beginning(shop: Any) -> None:
    """Without a snapshot and published rows, reading begins where the log does, and that place is saved at
    once."""
    shop.bus.forget(TopicPartition("exposures", shop.place), before=4)
    own = await ownership(shop)
    start = await own.assigned(places(shop))
    assert {each.topic: offset for each, offset in start.items()} == {"exposures": 4, "conversions": 0}
    assert shop.store.snapshot_offsets(shop.place) == [{"exposures": 4, "conversions": 0}]


async def test_a_first_owner_that_died_early(shop: Any) -> None:
    """Rows published before the first regular snapshot do not stop the next owner, though the log does not
    begin at 0."""
    shop.bus.forget(TopicPartition("exposures", shop.place), before=4)
    await (await ownership(shop)).assigned(places(shop))
    lease = await shop.store.acquire(shop.place, "another")
    await shop.store.publish(lease, {"exposures": 7}, {})
    own = await ownership(shop)
    assert (await own.assigned(places(shop)))[TopicPartition("exposures", shop.place)] == 4
    assert own.held[shop.place].to_replay() == 3


async def test_back_after_a_rebalance(shop: Any) -> None:
    """A state that comes back with the next epoch is used as it is, wherever it stood."""
    own = await ownership(shop)
    await own.assigned(places(shop))
    held = own.held[shop.place]
    held.offsets["exposures"] = 6
    await own.revoked(places(shop))
    assert own.held == {}
    start = await own.assigned(places(shop))
    assert own.held[shop.place] is held
    assert start[TopicPartition("exposures", shop.place)] == 6
    assert (held.lease.epoch, shop.built) == (2, [shop.place])


async def test_back_after_another_owner(shop: Any) -> None:
    """A state that somebody else had in between is built again from the snapshot."""
    own = await ownership(shop)
    await own.assigned(places(shop))
    held = own.held[shop.place]
    await own.revoked(places(shop))
    await shop.store.acquire(shop.place, "another")
    await own.assigned(places(shop))
    assert own.held[shop.place] is not held
    assert own.parked == {}


async def test_what_does_not_come_back_is_dropped(shop: Any) -> None:
    """After a rebalance nothing stays in memory of a partition that went to another member; before the group
    has spoken everything is kept."""
    own = await ownership(shop)
    await own.assigned(places(shop))
    own.park_all()
    own.forget_parked()
    assert list(own.parked) == [shop.place]
    await own.assigned(places(shop))
    await own.revoked(places(shop))
    own.forget_parked()
    assert (own.held, own.parked) == ({}, {})


async def test_a_store_that_does_not_answer(shop: Any) -> None:
    """The call fails, and succeeds when it is made again after the outage."""
    own = await ownership(shop)
    shop.store.down()
    with pytest.raises(Retryable):
        await own.assigned(places(shop))
    shop.store.up()
    await own.assigned(places(shop))
    assert list(own.held) == [shop.place]


async def test_retention_overtook_the_snapshot(shop: Any) -> None:
    """When the log no longer holds what comes after the snapshot, the worker refuses and names the place."""
    await (await ownership(shop)).assigned(places(shop))
    shop.bus.forget(TopicPartition("exposures", shop.place), before=3)
    with pytest.raises(Misconfigured, match=r"exposures begins at offset 3, but 0 is needed") as error:
        await (await ownership(shop)).assigned(places(shop))
    assert f"reset --yes --partition {shop.place}" in error.value.next_step


async def test_published_without_a_snapshot(shop: Any) -> None:
    """Without any good snapshot, rows that were published can only be reached from the very beginning."""
    lease = await shop.store.acquire(shop.place, "another")
    await shop.store.publish(lease, {"exposures": 7}, {})
    start = await (await ownership(shop)).assigned(places(shop))
    assert start[TopicPartition("exposures", shop.place)] == 0
    shop.store.damage(shop.place)
    shop.bus.forget(TopicPartition("exposures", shop.place), before=1)
    with pytest.raises(Misconfigured, match="there is no snapshot"):
        await (await ownership(shop)).assigned(places(shop))


@pytest.mark.parametrize("known", ["published", "snapshot"])
async def test_a_topic_that_was_made_anew(shop: Any, known: str) -> None:
    """A log that ends before what was read of it is not the same log: refused, instead of waiting for
    ever."""
    lease = await shop.store.acquire(shop.place, "another")
    if known == "published":
        await shop.store.publish(lease, {"exposures": 11}, {})
    else:
        await shop.store.save_snapshot(lease, seal(shop.place, {"exposures": 11, "conversions": 0}, [b"{}"]))
    with pytest.raises(Misconfigured, match="ends at offset 10, but 11 was read before"):
        await (await ownership(shop)).assigned(places(shop))


async def test_a_topic_that_is_new_to_the_line(shop: Any) -> None:
    """A topic that the snapshot does not know is read from its beginning, and its place is saved at once."""
    lease = await shop.store.acquire(shop.place, "an older program")
    await shop.store.save_snapshot(lease, seal(shop.place, {"exposures": 5}, [b'{"unit-2": 5}']))
    own = await ownership(shop)
    start = await own.assigned(places(shop))
    assert {each.topic: offset for each, offset in start.items()} == {"exposures": 5, "conversions": 0}
    assert shop.store.snapshot_offsets(shop.place)[-1] == {"exposures": 5, "conversions": 0}
    state: Any = own.held[shop.place].state
    assert state.sums == {"unit-2": 5}


async def test_topics_that_were_grown(shop: Any) -> None:
    """A state that was built when the topics had another number of partitions is refused, by a worker that
    starts and by one that was at work, as its units are elsewhere now; the error says what there is to do.
    Where the number is the same, or not known, work goes on."""
    own = await ownership(shop, 4)
    await own.assigned(places(shop))
    tell(own, 8)
    await own.revoked(places(shop))
    for each in (own, await ownership(shop, 8)):
        with pytest.raises(Misconfigured, match=r"had 4 partitions.* have 8") as error:
            await each.assigned(places(shop))
        assert "reset --yes" in error.value.next_step
        assert "with 4 partitions" in error.value.next_step
    for count in (4, None):
        await (await ownership(shop, count)).assigned(places(shop))


async def test_the_number_of_partitions_is_kept(shop: Any) -> None:
    """Every snapshot says with how many partitions its state was built, also one taken by a worker that could
    not find it out; one that does not say it, of an older program, is taken as it is."""
    lease = await shop.store.acquire(shop.place, "an older program")
    await shop.store.save_snapshot(lease, seal(shop.place, {"exposures": 0, "conversions": 0}, [b"{}"]))
    for count in (4, None):
        own = await ownership(shop, count)
        await own.assigned(places(shop))
        held = own.held[shop.place]
        saver: Saver[Any] = Saver(shop.store, own)
        saver.save(held)
        await saver.wait()
    with pytest.raises(Misconfigured, match="had 4 partitions"):
        await (await ownership(shop, 8)).assigned(places(shop))


async def test_a_topic_that_comes_later(shop: Any) -> None:
    """A state that was put aside before it knew of a topic is built again: that topic is read from its
    beginning, and nothing of the others is lost."""
    own = await ownership(shop)
    exposures = frozenset({TopicPartition("exposures", shop.place)})
    await own.assigned(exposures)
    await own.revoked(exposures)
    start = await own.assigned(places(shop))
    assert {each.topic: offset for each, offset in start.items()} == {"exposures": 0, "conversions": 0}
    assert own.held[shop.place].offsets.keys() == {"exposures", "conversions"}
