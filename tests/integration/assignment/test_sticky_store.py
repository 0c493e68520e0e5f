"""The memory of sticky units in PostgreSQL keeps the promises of `ports.StickyUnits`."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import connect
from services.assignment.adapters.postgres import PostgresStore
from services.assignment.adapters.sticky import CachedSticky, PostgresSticky
from services.assignment.bootstrap import MIGRATIONS, SCHEMA
from services.assignment.domain.change import Change
from services.assignment.domain.life import Verb, change
from services.assignment.ports import Given
from tests.unit.assignment.sticky_contract import Place, StickyContract
from tests.unit.assignment.store_contract import NOTE, fresh, running

DEADLINE_S = 10
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


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


async def test_who_is_remembered_anew_is_not_forgotten(database_url: str) -> None:
    """A unit that is too old, and is given a variant again while units are forgotten, keeps that one."""
    clock = SystemClock()
    async with await connect(database_url, schema=SCHEMA, deadline_ms=20_000, clock=clock) as pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        name, store, sticky = fresh(), PostgresStore(pool, clock), PostgresSticky(pool)
        experiment = await running(store, name)
        await sticky.remember(name, "u", Given("a", 2), since=1)
        paused = change(experiment, Verb.PAUSE, NOTE)
        await store.save([Change(paused.model_copy(update={"remembers_since": 3}))])
        async with pool.acquire() as other, other.transaction():
            await other.execute(
                "UPDATE sticky_units SET variant = 'b', revision = 3 WHERE experiment_id = $1", name
            )
            forgetting = asyncio.create_task(sticky.forget(limit=10))
            async with asyncio.timeout(DEADLINE_S):
                while not (forgetting.done() or await other.fetchval(WAITING)):
                    continue
        assert await forgetting == 0
        assert await sticky.recall("u", {name: 3}) == {name: Given("b", 3)}
