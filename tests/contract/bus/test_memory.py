"""The bus in memory keeps the contract."""

import pytest

from libs.common.bus.memory import MemoryBus, MemoryConsumer
from libs.common.bus.ports import Consumer, TopicPartition
from libs.common.clock import SystemClock
from tests.contract.bus.place import Place
from tests.contract.bus.suite import BusContract


@pytest.fixture
def place() -> Place:
    """A new bus in memory."""
    bus = MemoryBus(SystemClock())

    async def forget(partition: TopicPartition, before: int) -> None:
        bus.forget(partition, before=before)

    async def expel(consumer: Consumer) -> None:
        assert isinstance(consumer, MemoryConsumer)
        consumer.expel()

    return Place(bus, forget, expel)


class TestMemoryBus(BusContract):
    """Runs the suite."""
