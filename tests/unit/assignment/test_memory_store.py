"""The store in memory keeps the promises of `ports.Store`."""

import pytest

from libs.common.bus.ports import Message
from libs.common.clock import ManualClock
from libs.common.errors import Retryable
from services.assignment.adapters.memory import MemoryStore
from tests.unit.assignment.store_contract import Place, StoreContract


@pytest.fixture
def place() -> Place:
    """Return an empty store."""
    store = MemoryStore(ManualClock())

    async def told() -> list[Message]:
        return store.told

    return Place(store, told)


class TestMemoryStore(StoreContract):
    """The contract, kept in memory."""


async def test_outage_is_retryable() -> None:
    """While it is down, every call says that it may succeed later."""
    store = MemoryStore(ManualClock())
    store.down = True
    for call in (store.find("x"), store.rules_revision(), store.save([]), store.snapshot()):
        with pytest.raises(Retryable):
            await call
