"""The store in PostgreSQL keeps the promises of `ports.Store`, and some that only a database can."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from services.assignment.adapters.postgres import PostgresStore
from services.assignment.bootstrap import MIGRATIONS, SCHEMA
from tests.unit.assignment.store_contract import Place, StoreContract, fresh, running


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """Return a pool on the service's schema, migrated."""
    clock = SystemClock()
    async with await connect(database_url, schema=SCHEMA, deadline_ms=20_000, clock=clock) as pool:
        await migrate(pool, SCHEMA, MIGRATIONS)
        yield pool


@pytest.fixture
def place(pool: Pool) -> Place:
    """Return the store, and what waits in its outbox."""

    async def told() -> list[Message]:
        rows = await pool.fetch("SELECT topic, key, value, headers FROM outbox ORDER BY id")
        return [Message(row["topic"], row["key"], row["value"], json.loads(row["headers"])) for row in rows]

    return Place(PostgresStore(pool, SystemClock()), told)


class TestPostgresStore(StoreContract):
    """The contract, kept in PostgreSQL."""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE history SET body = '{}'",
        "DELETE FROM history",
        "TRUNCATE history",
        "UPDATE quarantine_log SET reason = 'another'",
        "DELETE FROM quarantine_log",
        "TRUNCATE quarantine_log",
    ],
)
async def test_history_is_append_only(place: Place, pool: Pool, statement: str) -> None:
    """What happened cannot be changed or removed, not even by the service itself."""
    name = fresh()
    await running(place.store, name)
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await pool.execute(statement)
    assert len(await place.store.history(name, limit=10)) == 2


async def test_migration_is_done_once(pool: Pool) -> None:
    """Starting again on a migrated database changes nothing."""
    await migrate(pool, SCHEMA, MIGRATIONS)
    assert await pool.fetchval("SELECT count(*) FROM rules") == 1
