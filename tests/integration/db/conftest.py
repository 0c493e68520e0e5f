"""A fresh schema of this module's database, the time, and what a relay needs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from tests.integration.db.ground import Ground


@pytest.fixture
def clock() -> SystemClock:
    """The machine's clock."""
    return SystemClock()


@pytest.fixture
async def pool(database_url: str, clock: SystemClock) -> AsyncIterator[Pool]:
    """A pool on schema `shop`, which does not exist yet."""
    async with await connect(database_url, schema="shop", deadline_ms=20_000, clock=clock) as pool:
        await pool.execute("DROP SCHEMA IF EXISTS shop CASCADE")
        yield pool


@pytest.fixture
async def outbox(pool: Pool, tmp_path: Path) -> Pool:
    """The same pool, with an outbox and a table of orders in the schema."""
    (tmp_path / "0001_shop.sql").write_text(
        "-- include: outbox\nCREATE TABLE orders (id text PRIMARY KEY, version int NOT NULL);"
    )
    await migrate(pool, "shop", tmp_path)
    return pool


@pytest.fixture
def ground(outbox: Pool, clock: SystemClock) -> Ground:
    """Everything a relay needs."""
    return Ground(outbox, clock)
