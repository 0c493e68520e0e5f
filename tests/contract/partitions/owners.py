"""Two owners never both write: owners that come, go, sleep and wake in any order, against a simple model.

The machine drives any `PartitionStore` through its port. In memory it runs among the unit tests; a store
that is reached from an event loop inherits `OwnersContract` beside `StoreContract`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol, TypeVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from libs.common.errors import Fenced, Refused
from libs.common.partitions.ports import Lease, PartitionStore
from libs.common.partitions.snapshots import seal

Rows = dict[str, int]
T = TypeVar("T")

PARTITIONS = st.sampled_from([0, 1])
TOPICS = st.sampled_from(["exposures", "conversions"])
KEYS = st.sampled_from("abc")


class Place(Protocol):
    """A store, and a reader of its published rows. Rows are values by key."""

    @property
    def store(self) -> PartitionStore[Rows]:
        """The store."""

    async def published(self, partition: int) -> Rows:
        """Return what a reader of the published rows sees."""


class Waits(Protocol):
    """Runs a coroutine where the store lives."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        """Return what it returns, raise what it raises."""


@dataclass(slots=True)
class Model:
    """What one partition must be: the latest epoch, and what its owners have written, in turn."""

    number: int
    epoch: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    rows: Rows = field(default_factory=dict)
    snapshot: tuple[dict[str, int], list[bytes]] | None = None
    writers: list[int] = field(default_factory=list)
    """The epoch of every write that succeeded."""


class Owners(RuleBasedStateMachine):
    """Any number of owners of two partitions, none of which learns that it is one no more."""

    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self, place: Place, wait: Waits, first: int = 0) -> None:
        """`first`: the partitions `first` and `first + 1` are fresh."""
        super().__init__()
        self._place = place
        self._wait = wait
        self._first = first
        self._models = {first + each: Model(first + each) for each in (0, 1)}
        self._values = count(1)

    @initialize(target=leases)
    def first_owner(self) -> Lease:
        """There is somebody from the beginning."""
        return self._take(0)

    @rule(target=leases, partition=PARTITIONS)
    def take_over(self, partition: int) -> Lease:
        """An owner comes: it gets the next epoch, and knows all that was written before."""
        return self._take(partition)

    @rule(lease=leases, topic=TOPICS, ahead=st.integers(0, 3), key=KEYS)
    def publish(self, lease: Lease, topic: str, ahead: int, key: str) -> None:
        """An owner writes: it succeeds if none came after it, else nothing of it is written."""
        model = self._models[lease.partition]
        offsets = {topic: model.offsets.get(topic, 0) + ahead}
        rows = {key: next(self._values)}
        if self._may(lease, self._place.store.publish(lease, offsets, rows)):
            self._note(model, lease, offsets, rows)

    @rule(lease=leases, topic=TOPICS, key=KEYS)
    def publish_what_is_older(self, lease: Lease, topic: str, key: str) -> None:
        """Offsets that go back are refused from everybody, with the rows that came with them."""
        model = self._models[lease.partition]
        if known := model.offsets.get(topic, 0):
            latest = lease.epoch == model.epoch
            with pytest.raises(Refused if latest else Fenced):
                self._wait(self._place.store.publish(lease, {topic: known - 1}, {key: -1}))

    @rule(lease=leases, state=st.binary(max_size=9))
    def save(self, lease: Lease, state: bytes) -> None:
        """An owner saves what it knows: only the latest may, or the next one would start from a zombie."""
        model = self._models[lease.partition]
        snapshot = seal(lease.partition, model.offsets, [state])
        if self._may(lease, self._place.store.save_snapshot(lease, snapshot)):
            model.snapshot = dict(model.offsets), [state]
            model.writers.append(lease.epoch)

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        """An owner says that it is at work, and so learns whether it still is one."""
        self._may(lease, self._place.store.renew(lease))

    @rule(lease=leases)
    def leave(self, lease: Lease) -> None:
        """An owner leaves in order, or thinks so: it disturbs nobody, and may be at work again."""
        self._wait(self._place.store.release(lease))

    @rule(target=leases, one=leases, two=leases, key=KEYS, late=st.booleans())
    def write_during_a_take_over(self, one: Lease, two: Lease, key: str, late: bool) -> Lease:
        """Two owners write while a third takes over from the first, all at once: whoever wrote did so before
        the take-over, and the new owner knows of it."""
        model = self._models[one.partition]
        offset = max(model.offsets.values(), default=0) + 1
        writes = {each.epoch: each for each in (one, two) if each.partition == one.partition}
        rows = {epoch: {key: next(self._values)} for epoch in writes}
        store, offsets = self._place.store, {"exposures": offset}
        race = [store.publish(each, offsets, rows[epoch]) for epoch, each in writes.items()]
        lease, outcomes = self._wait(_together(store.acquire(model.number, "owner"), race, late=late))
        wrote = [epoch for epoch, each in zip(writes, outcomes, strict=True) if each is None]
        assert set(wrote) <= {model.epoch}
        for epoch in wrote:
            self._note(model, writes[epoch], offsets, rows[epoch])
        self._expect_next(lease, model)
        return lease

    @invariant()
    def what_readers_see(self) -> None:
        """Readers see what the owners wrote in turn, epochs only rise, and no zombie left a trace."""
        for model in self._models.values():
            assert self._wait(self._place.published(model.number)) == model.rows
            assert model.writers == sorted(model.writers)

    def _take(self, partition: int) -> Lease:
        model = self._models[self._first + partition]
        lease = self._wait(self._place.store.acquire(model.number, "owner"))
        self._expect_next(lease, model)
        return lease

    def _may(self, lease: Lease, call: Coroutine[Any, Any, None]) -> bool:
        """Return True when the call succeeds, which it must for the latest lease, and for no other."""
        latest = lease.epoch == self._models[lease.partition].epoch
        if latest:
            self._wait(call)
        else:
            with pytest.raises(Fenced):
                self._wait(call)
        return latest

    def _note(self, model: Model, lease: Lease, offsets: Mapping[str, int], rows: Rows) -> None:
        model.offsets |= offsets
        model.rows |= rows
        model.writers.append(lease.epoch)

    def _expect_next(self, lease: Lease, model: Model) -> None:
        model.epoch += 1
        assert (lease.partition, lease.epoch) == (model.number, model.epoch)
        assert lease.published_offsets == model.offsets
        offsets, chunks = model.snapshot or ({}, None)
        assert lease.snapshot_offsets == offsets
        assert (None if lease.snapshot is None else list(lease.snapshot)) == chunks


async def _together(
    take: Coroutine[Any, Any, Lease], writes: list[Coroutine[Any, Any, None]], *, late: bool
) -> tuple[Lease, list[Fenced | None]]:
    """Return the lease and what became of each write. `late`: the writers have a head start."""
    writing = asyncio.gather(*writes, return_exceptions=True) if late else None
    taking = asyncio.ensure_future(take)
    outcomes = await (writing or asyncio.gather(*writes, return_exceptions=True))
    lease = await taking
    fenced = [each for each in outcomes if each is None or isinstance(each, Fenced)]
    assert len(fenced) == len(outcomes), outcomes
    return lease, fenced


class OwnersContract:
    """The machine against a store that lives in an event loop. Subclasses give a fixture `bench`."""

    examples = 20

    async def test_two_owners_never_both_write(self, bench: Place) -> None:
        """Whatever owners do and in which order, only the latest writes, and the next one knows of it."""
        loop = asyncio.get_running_loop()
        firsts = count(100, 2)

        def wait(coroutine: Coroutine[Any, Any, T]) -> T:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

        def machine() -> Owners:
            return Owners(bench, wait, next(firsts))

        await asyncio.to_thread(_run, machine, self.examples)


def _run(machine: Callable[[], Owners], examples: int) -> None:
    few = settings(max_examples=examples, stateful_step_count=25, deadline=None, database=None)
    # It takes whatever makes a machine.
    run_state_machine_as_test(cast("type[Owners]", machine), settings=few)
