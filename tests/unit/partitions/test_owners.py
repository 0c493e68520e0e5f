"""Two owners never both write: the machine of the contract, on the store in memory."""

import asyncio
from collections import ChainMap

from hypothesis import settings

from libs.common.partitions.memory import MemoryPartitionStore
from tests.contract.partitions.owners import Owners, Rows


class MemoryPlace:
    """A store in memory and a reader of its rows."""

    def __init__(self) -> None:
        self.store: MemoryPartitionStore[Rows] = MemoryPartitionStore()

    async def published(self, partition: int) -> Rows:
        """Return the latest value of every key."""
        return dict(ChainMap(*reversed(self.store.published.get(partition, []))))


class MemoryOwners(Owners):
    """Owners around a fresh store and a loop of their own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        super().__init__(MemoryPlace(), self._runner.run)

    def teardown(self) -> None:
        """Close the loop."""
        self._runner.close()


TestTwoOwnersNeverBothWrite = MemoryOwners.TestCase
TestTwoOwnersNeverBothWrite.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
