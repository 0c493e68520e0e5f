"""Assertions of the shared suite explain themselves as those in test files do."""

from collections.abc import AsyncIterator

import pytest

from libs.common.bus.memory import MemoryBus
from services.assignment.adapters.exposures import BusExposures
from services.assignment.adapters.sticky_memory import MemorySticky
from services.assignment.entrypoints.http import Api
from services.assignment.handlers.read_rules import RulesReader
from tests.unit.assignment.make import desk, store_of
from tests.unit.assignment.remote import Service, serving

pytest.register_assert_rewrite("tests.unit.assignment.store_contract")
pytest.register_assert_rewrite("tests.unit.assignment.laws")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Return the service on a store and a bus in memory."""
    place = desk()
    bus = MemoryBus(place.clock)
    producer = bus.producer()
    await producer.start()
    sticky = MemorySticky(store_of(place))
    exposures = BusExposures(producer, deadline_ms=1_000)
    api = Api(place, RulesReader(place.store), exposures, sticky=sticky)
    async with serving(api) as http:
        yield Service(http, place, bus, sticky, api)
    await producer.stop()
