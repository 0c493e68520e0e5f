"""What every partition store promises; run for each store by a class that makes a bench of it."""

import asyncio
import random
from collections.abc import Mapping
from typing import Protocol

import pytest

from libs.common.errors import Fenced, Refused
from libs.common.partitions.ports import Lease, PartitionStore
from libs.common.partitions.snapshots import seal

Rows = dict[str, int]


class Bench(Protocol):
    """A store, and the means to look behind it. Rows are sums by key."""

    @property
    def store(self) -> PartitionStore[Rows]:
        """The store."""

    async def published(self, partition: int) -> Rows:
        """Return what a reader of the published rows sees."""

    async def at_work(self, partition: int) -> bool:
        """Return True when the owner has not left in order."""

    async def damage(self, partition: int) -> None:
        """Flip a bit in the newest snapshot."""


async def save(bench: Bench, lease: Lease, offsets: Mapping[str, int], *chunks: bytes) -> None:
    """Save a snapshot of these chunks."""
    await bench.store.save_snapshot(lease, seal(lease.partition, offsets, chunks))


def chunks_of(lease: Lease) -> list[bytes] | None:
    """Return the chunks that the next owner starts from."""
    return None if lease.snapshot is None else list(lease.snapshot)


class StoreContract:
    """The promises of `ports.PartitionStore`. Subclasses give a fixture `bench`."""

    async def test_a_new_partition(self, bench: Bench) -> None:
        """The first owner gets epoch 1 and nothing else."""
        assert await bench.store.acquire(3, "me") == Lease(3, 1, None, {}, {})

    async def test_the_next_owner_knows_what_was_published(self, bench: Bench) -> None:
        """Rows and the offsets that they cover are there together; epochs count up."""
        lease = await bench.store.acquire(0, "me")
        await bench.store.publish(lease, {"exposures": 3, "conversions": 1}, {"a": 1})
        await bench.store.publish(lease, {"exposures": 5, "conversions": 1}, {"a": 2, "b": 9})
        assert await bench.published(0) == {"a": 2, "b": 9}
        after = await bench.store.acquire(0, "another")
        assert (after.epoch, after.published_offsets) == (2, {"exposures": 5, "conversions": 1})

    async def test_the_old_owner_is_fenced(self, bench: Bench) -> None:
        """After a take-over the old lease writes nothing: no rows, no offsets, no snapshot."""
        old = await bench.store.acquire(0, "me")
        await bench.store.publish(old, {"exposures": 3}, {"a": 1})
        await bench.store.acquire(0, "another")
        with pytest.raises(Fenced, match="epoch 1"):
            await bench.store.publish(old, {"exposures": 9}, {"a": 9})
        with pytest.raises(Fenced, match="epoch 1"):
            await save(bench, old, {"exposures": 9}, b"zombie")
        assert await bench.published(0) == {"a": 1}
        after = await bench.store.acquire(0, "a third")
        assert (after.published_offsets, after.snapshot) == ({"exposures": 3}, None)

    async def test_a_lease_that_was_never_given(self, bench: Bench) -> None:
        """A lease on a partition that nobody acquired is fenced."""
        with pytest.raises(Fenced):
            await bench.store.publish(Lease(7, 1, None, {}, {}), {"exposures": 1}, {})

    async def test_partitions_are_apart(self, bench: Bench) -> None:
        """Taking one partition over fences nobody on another one."""
        first, second = await bench.store.acquire(0, "me"), await bench.store.acquire(1, "me")
        await bench.store.acquire(1, "another")
        await bench.store.publish(first, {"exposures": 1}, {"a": 1})
        with pytest.raises(Fenced):
            await bench.store.publish(second, {"exposures": 1}, {"a": 1})
        assert (await bench.published(0), await bench.published(1)) == ({"a": 1}, {})

    async def test_published_offsets_never_go_back(self, bench: Bench) -> None:
        """Older offsets of any topic are refused with everything that came with them; the same ones again are
        fine."""
        lease = await bench.store.acquire(0, "me")
        await bench.store.publish(lease, {"exposures": 5, "conversions": 5}, {"a": 1})
        with pytest.raises(Refused, match="conversions cover offset 5 and will not go back to 4"):
            await bench.store.publish(lease, {"exposures": 6, "conversions": 4}, {"a": 7})
        await bench.store.publish(lease, {"exposures": 5, "conversions": 5}, {"a": 2})
        assert await bench.published(0) == {"a": 2}
        assert (await bench.store.acquire(0, "me")).published_offsets == {"exposures": 5, "conversions": 5}

    async def test_topics_that_are_not_named_stay(self, bench: Bench) -> None:
        """A topic that a later program does not read keeps its offset."""
        lease = await bench.store.acquire(0, "me")
        await bench.store.publish(lease, {"exposures": 5, "feedback": 5}, {})
        await bench.store.publish(lease, {"exposures": 6}, {})
        assert (await bench.store.acquire(0, "me")).published_offsets == {"exposures": 6, "feedback": 5}

    async def test_snapshots_come_back(self, bench: Bench) -> None:
        """The newest snapshot comes back byte for byte and cut for cut, with its offsets."""
        dump = random.Random(7).randbytes(3_000_000) + bytes(3_000_000)
        lease = await bench.store.acquire(0, "me")
        await save(bench, lease, {"exposures": 1}, b"old")
        await save(bench, lease, {"exposures": 8, "conversions": 0}, dump, b"", b"more")
        after = await bench.store.acquire(0, "me")
        assert chunks_of(after) == [dump, b"", b"more"]
        assert after.snapshot_offsets == {"exposures": 8, "conversions": 0}

    async def test_an_empty_dump_is_a_snapshot(self, bench: Bench) -> None:
        """No chunks are not the same as no snapshot."""
        await save(bench, await bench.store.acquire(0, "me"), {"exposures": 1})
        assert chunks_of(await bench.store.acquire(0, "me")) == []

    async def test_a_broken_snapshot(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """When the newest is broken the one before is used, and the log says so; when both are, none is."""
        lease = await bench.store.acquire(0, "me")
        for number in (1, 2, 3):
            await save(bench, lease, {"exposures": number}, b"state %d" % number)
        await bench.damage(0)
        after = await bench.store.acquire(0, "me")
        assert (chunks_of(after), after.snapshot_offsets) == ([b"state 2"], {"exposures": 2})
        assert "does not match" in caplog.text
        await bench.damage(0)
        last = await bench.store.acquire(0, "me")
        assert (last.snapshot, last.snapshot_offsets) == (None, {})

    async def test_a_broken_snapshot_counts_for_nothing(self, bench: Bench) -> None:
        """The one before a broken one stays until two good ones are newer."""
        lease = await bench.store.acquire(0, "me")
        await save(bench, lease, {"exposures": 1}, b"state 1")
        await save(bench, lease, {"exposures": 2}, b"state 2")
        await bench.damage(0)
        lease = await bench.store.acquire(0, "me")
        await save(bench, lease, {"exposures": 3}, b"state 3")
        await bench.damage(0)
        assert chunks_of(await bench.store.acquire(0, "me")) == [b"state 1"]

    async def test_an_owner_at_work(self, bench: Bench) -> None:
        """Whoever has the lease may renew and release it; whoever had it is fenced, and disturbs nobody by
        leaving."""
        old = await bench.store.acquire(0, "me")
        await bench.store.renew(old)
        new = await bench.store.acquire(0, "another")
        with pytest.raises(Fenced):
            await bench.store.renew(old)
        await bench.store.release(old)
        assert await bench.at_work(0)
        await bench.store.release(new)
        assert not await bench.at_work(0)
        await bench.store.renew(new)
        assert await bench.at_work(0)

    async def test_many_take_over_together(self, bench: Bench) -> None:
        """Of many owners that come at once each gets an epoch of its own, and only the last one may write."""
        leases = await asyncio.gather(*(bench.store.acquire(0, f"owner {n}") for n in range(12)))
        assert sorted(lease.epoch for lease in leases) == list(range(1, 13))
        written = await asyncio.gather(*(self._writes(bench, lease) for lease in leases))
        assert [lease.epoch for lease, wrote in zip(leases, written, strict=True) if wrote] == [12]

    async def test_take_overs_in_the_middle_of_writes(self, bench: Bench) -> None:
        """Whatever a zombie tries while others take over, the rows are those of rising epochs."""

        async def work(owner: str) -> None:
            for _ in range(10):
                lease = await bench.store.acquire(0, owner)
                for _ in range(3):
                    offsets: Mapping[str, int] = {"exposures": lease.epoch}
                    try:
                        await bench.store.publish(lease, offsets, {"epoch": lease.epoch})
                    except Fenced:
                        break

        await asyncio.gather(*(work(f"owner {number}") for number in range(4)))
        last = await bench.store.acquire(0, "me")
        assert await bench.published(0) == {"epoch": last.published_offsets["exposures"]}

    async def _writes(self, bench: Bench, lease: Lease) -> bool:
        try:
            await bench.store.publish(lease, {"exposures": 1}, {"epoch": lease.epoch})
        except Fenced:
            return False
        return True
