"""The memory of sticky units in PostgreSQL keeps the promises of `ports.StickyUnits`."""

from collections.abc import AsyncIterator

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import connect
from services.assignment.adapters.postgres import PostgresStore
from services.assignment.adapters.sticky import CachedSticky, PostgresSticky
from services.assignment.bootstrap import MIGRATIONS, SCHEMA
from tests.unit.assignment.sticky_contract import Place, StickyContract


@pytest.fixture(params=[False, True], ids=["plain", "cached"])
async def place(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Return a memory in the service's schema, migrated."""
    clock = SystemClock()
    async with await connect(database_url, schema=SCHEMA, deadline_ms=20_000, clock=clock) as pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        sticky = PostgresSticky(pool)
        cached = CachedSticky(sticky, max_units=100)
        yield Place(cached if request.param else sticky, PostgresStore(pool, clock))


class TestPostgresSticky(StickyContract):
    """The contract, kept in PostgreSQL."""
