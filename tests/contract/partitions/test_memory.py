"""The store in memory keeps the contract."""

from collections import ChainMap

import pytest

from libs.common.errors import Retryable
from libs.common.partitions.memory import MemoryPartitionStore
from tests.contract.partitions.suite import Rows, StoreContract, save


class MemoryBench:
    """A store in memory."""

    def __init__(self) -> None:
        self.store: MemoryPartitionStore[Rows] = MemoryPartitionStore()

    async def published(self, partition: int) -> Rows:
        """Return the latest value of every key."""
        return dict(ChainMap(*reversed(self.store.published.get(partition, []))))

    async def at_work(self, partition: int) -> bool:
        """Return what the store says."""
        return self.store.at_work(partition)

    async def damage(self, partition: int) -> None:
        """Flip a bit in the newest snapshot."""
        self.store.damage(partition)


class TestMemoryPartitionStore(StoreContract):
    """All promises, and an outage at will."""

    @pytest.fixture
    def bench(self) -> MemoryBench:
        """A fresh store."""
        return MemoryBench()

    async def test_an_outage(self, bench: MemoryBench) -> None:
        """While it is down every call is Retryable and changes nothing."""
        lease = await bench.store.acquire(0, "me")
        bench.store.down()
        with pytest.raises(Retryable):
            await bench.store.publish(lease, {"exposures": 1}, {"a": 1})
        with pytest.raises(Retryable):
            await save(bench, lease, {"exposures": 1}, b"state")
        with pytest.raises(Retryable):
            await bench.store.acquire(0, "another")
        bench.store.up()
        await bench.store.publish(lease, {"exposures": 1}, {"a": 2})
        assert (await bench.published(0), bench.store.snapshot_offsets(0)) == ({"a": 2}, [])
