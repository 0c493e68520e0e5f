"""One held partition: what is skipped, what waits, and when a snapshot is allowed."""

from typing import Any

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.errors import Retryable
from libs.common.partitions.held import Held
from libs.common.partitions.memory import MemoryPartitionStore
from libs.common.partitions.ports import Lease, Rejected


def record(topic: str, offset: int, value: bytes = b"1") -> Record:
    return Record(topic, 0, offset, 0, b"unit", value)


def held_by(
    state: Any, lease: Lease, offsets: dict[str, int], covered: dict[str, int] | None = None
) -> Held[Any]:
    return Held(lease, state, offsets, covered or dict(offsets), dict(offsets), snapshot_due_ms=0)


@pytest.fixture
async def store() -> MemoryPartitionStore[Any]:
    return MemoryPartitionStore()


async def test_skips_what_it_has(counting: Any, store: Any) -> None:
    """A record that comes again is not folded again."""
    state = counting()
    held = held_by(state, await store.acquire(0, "me"), {"exposures": 0})
    held.fold("exposures", Batch.of([record("exposures", 0), record("exposures", 1)]))
    held.fold("exposures", Batch.of([record("exposures", 0), record("exposures", 1), record("exposures", 2)]))
    held.fold("exposures", Batch.of([record("exposures", 1)]))
    assert state.sums == {"unit": 3}
    assert held.offsets == {"exposures": 3}


async def test_publishes_nothing_before_every_topic_is_replayed(counting: Any, store: Any) -> None:
    """One topic that is past its published offset does not open the gate while another one is before it."""
    lease = await store.acquire(0, "me")
    covered = {"exposures": 1, "conversions": 2}
    held = held_by(counting(), lease, {"exposures": 0, "conversions": 0}, covered)
    held.fold("exposures", Batch.of([record("exposures", 0), record("exposures", 1)]))
    held.fold("conversions", Batch.of([record("conversions", 0)]))
    await held.publish(store)
    assert (held.to_replay(), store.published) == (1, {})
    held.fold("conversions", Batch.of([record("conversions", 1)]))
    await held.publish(store)
    assert store.published == {0: [{"unit": 4}]}
    assert store.published_offsets(0) == {"exposures": 2, "conversions": 2}


async def test_no_snapshot_of_unpublished_rows(counting: Any, store: Any) -> None:
    """A state that holds rows nobody has seen is not dumped: whoever starts from the dump would not know that
    they changed. Nor is one that is behind the published offsets: it knows no better what was published of
    it before, and what its owner published since."""
    lease = await store.acquire(0, "me")
    covered = {"exposures": 1, "conversions": 2}
    held = held_by(counting(), lease, {"exposures": 0, "conversions": 0}, covered)
    assert not held.worth_a_snapshot(), "nothing is new"
    held.fold("conversions", Batch.of([record("conversions", 0)]))
    assert not held.worth_a_snapshot(), "behind everywhere"
    held.fold("exposures", Batch.of([record("exposures", 0)]))
    assert not held.worth_a_snapshot(), "behind in one topic"
    held.fold("exposures", Batch.of([record("exposures", 1)]))
    assert not held.worth_a_snapshot(), "past in one topic, behind in the other"
    held.fold("conversions", Batch.of([record("conversions", 0), record("conversions", 1)]))
    assert not held.worth_a_snapshot(), "not published yet"
    await held.publish(store)
    assert held.worth_a_snapshot()


async def test_a_snapshot_of_the_moment_whose_rows_are_taken(counting: Any, store: Any) -> None:
    """A state may be dumped when its rows are taken, and till something is folded or changes otherwise."""
    state = counting()
    held = held_by(state, await store.acquire(0, "me"), {"exposures": 0})
    held.fold("exposures", Batch.of([record("exposures", 0)]))
    held.passages.clear()
    assert held.prepare()
    assert held.worth_a_snapshot()
    state.correct("unit", 5)
    assert not held.worth_a_snapshot(), "no record, and yet rows that nobody has"
    await held.publish(store)
    assert held.worth_a_snapshot()
    held.fold("exposures", Batch.of([record("exposures", 1, b"bad")]))
    held.passages.clear()
    assert not held.worth_a_snapshot(), "no row changed, and yet it is beyond what is published"
    await held.publish(store)
    held.fold("exposures", Batch.of([record("exposures", 2)]))
    held.passages.clear()
    assert not held.worth_a_snapshot()


async def test_rows_of_a_failed_publish_wait(counting: Any, store: Any) -> None:
    """Rows that the store did not take are written when it answers again, with what came since."""
    held = held_by(counting(), await store.acquire(0, "me"), {"exposures": 0})
    held.fold("exposures", Batch.of([record("exposures", 0)]))
    store.down()
    with pytest.raises(Retryable):
        await held.publish(store)
    held.fold("exposures", Batch.of([Record("exposures", 0, 1, 0, b"another", b"5")]))
    assert not held.worth_a_snapshot()
    with pytest.raises(Retryable):
        await held.publish(store)
    store.up()
    await held.publish(store)
    assert store.published == {0: [{"unit": 1}, {"another": 5}]}
    await held.publish(store)
    assert len(store.published[0]) == 2, "nothing is written when nothing is new"


async def test_a_change_without_a_record_is_published(counting: Any, store: Any) -> None:
    """When a state changes by something else than records, its rows go out with the offsets as they are, but
    not before the replay is over."""
    state = counting()
    held = held_by(state, await store.acquire(0, "me"), {"exposures": 0}, {"exposures": 1})
    state.correct("unit", 7)
    await held.publish(store)
    assert store.published == {}, "the replay is not over"
    held.fold("exposures", Batch.of([record("exposures", 0)]))
    await held.publish(store)
    state.correct("unit", 9)
    await held.publish(store)
    await held.publish(store)
    assert store.published == {0: [{"unit": 8}, {"unit": 9}]}
    assert store.published_offsets(0) == {"exposures": 1}


async def test_poison_holds_back_what_comes_after(counting: Any, store: Any) -> None:
    """Rows are not written while poison waits that came before they were taken; good records before and after
    it are counted at their places."""
    held = held_by(counting(), await store.acquire(0, "me"), {"exposures": 0})
    values = [b"1", b"bad", b"1", b"1", b"worse", b"1"]
    held.fold(
        "exposures", Batch.of([record("exposures", offset, value) for offset, value in enumerate(values)])
    )
    assert [(good, rejected and rejected.value) for good, rejected, _ in held.passages] == [
        (1, b"bad"),
        (2, b"worse"),
        (1, None),
    ]
    assert not held.worth_a_snapshot()
    await held.publish(store)
    assert (store.published, held.unwritten, held.buried()) == ({}, True, False)
    held.fold("exposures", Batch.of([record("exposures", 6, b"worst")]))
    held.passages.popleft()
    await held.publish(store)
    assert store.published == {}
    held.passages.popleft()
    await held.publish(store)
    assert (store.published, held.covered) == ({0: [{"unit": 4}]}, {"exposures": 6}), "poison that came since"
    await held.publish(store)
    assert (len(store.published[0]), held.unwritten) == (1, True)
    held.passages.clear()
    await held.publish(store)
    assert (held.covered, held.unwritten) == ({"exposures": 7}, False)


async def test_poison_that_an_earlier_owner_buried(counting: Any) -> None:
    """Poison below the published offset was buried before that was published: it is not buried again."""
    lease = Lease(0, 2, None, {}, {"exposures": 1})
    held = held_by(counting(), lease, {"exposures": 0}, {"exposures": 1})
    held.fold("exposures", Batch.of([record("exposures", 0, b"bad"), record("exposures", 1, b"worse")]))
    assert [rejected and rejected.offset for _, rejected, _ in held.passages] == [1, None]


async def test_gaps_in_the_log(counting: Any, store: Any) -> None:
    """Good records between poison are counted by what was read, not by offsets, where the log has gaps."""
    held = held_by(counting(), await store.acquire(0, "me"), {"exposures": 0})
    values = {3: b"1", 5: b"bad", 9: b"1", 10: b"1", 40: b"worse", 41: b"1"}
    held.fold("exposures", Batch.of([record("exposures", offset, value) for offset, value in values.items()]))
    assert [good for good, _, _ in held.passages] == [1, 2, 1]
    assert held.offsets == {"exposures": 42}


class Picky:
    """A state that calls every hundredth record poison, and looks at no other."""

    def fold(self, topic: str, batch: Batch) -> list[Rejected]:
        """Return every hundredth record."""
        return [Rejected(batch[place], "poison") for place in range(0, len(batch), 100)]


async def test_poison_costs_what_it_costs(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under 1 % poison one record in a hundred becomes an object, not all of them."""
    held = held_by(Picky(), await store.acquire(0, "me"), {"exposures": 0})
    batch = Batch.of([record("exposures", offset) for offset in range(5_000)])
    made = []
    get = Batch.__getitem__
    monkeypatch.setattr(Batch, "__getitem__", lambda self, index: made.append(index) or get(self, index))
    held.fold("exposures", batch)
    assert len(made) == 50
    assert sum(good for good, _, _ in held.passages) == 4_950


async def test_the_next_mark_is_set_when_all_was_read_that_the_last_one_says(
    counting: Any, store: Any
) -> None:
    """The first one at once; the next not while one topic is behind it, however far the log has grown."""
    state = counting()
    held = held_by(state, await store.acquire(0, "me"), {"exposures": 0, "conversions": 0})
    held.mark({"exposures": 1, "conversions": 2})
    held.fold("exposures", Batch.of([record("exposures", 0), record("exposures", 1)]))
    held.fold("conversions", Batch.of([record("conversions", 0)]))
    held.mark({"exposures": 9, "conversions": 9})
    assert state.marks == 1
    held.fold("conversions", Batch.of([record("conversions", 1)]))
    held.mark({"exposures": 9, "conversions": 9})
    assert state.marks == 2
    held.mark({"exposures": 9, "conversions": 9})
    assert state.marks == 2
