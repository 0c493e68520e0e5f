"""Migrations on a real PostgreSQL: once each, whoever starts together."""

import asyncio
from pathlib import Path

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from libs.common.errors import Misconfigured


async def applied(pool: Pool) -> list[str]:
    return [row["name"] for row in await pool.fetch("SELECT name FROM shop.migrations ORDER BY number")]


async def test_many_start_together(pool: Pool, database_url: str, tmp_path: Path, clock: SystemClock) -> None:
    """Eight processes' worth of connections migrate an empty database at once: each file is applied once."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int); SELECT pg_sleep(0.2);")
    (tmp_path / "0002_second.sql").write_text("INSERT INTO first VALUES (1);")

    async def start() -> None:
        async with await connect(database_url, schema="shop", deadline_ms=20_000, clock=clock) as mine:
            await migrate(mine, "shop", tmp_path)

    await asyncio.gather(*(start() for _ in range(8)))
    assert await applied(pool) == ["0001_first.sql", "0002_second.sql"]
    assert await pool.fetchval("SELECT count(*) FROM first") == 1


async def test_what_is_new_is_added(pool: Pool, tmp_path: Path) -> None:
    """A second start applies only the new file; a third one nothing."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int);")
    await migrate(pool, "shop", tmp_path)
    (tmp_path / "0002_second.sql").write_text("ALTER TABLE first ADD COLUMN name text;")
    await migrate(pool, "shop", tmp_path)
    await migrate(pool, "shop", tmp_path)
    assert await applied(pool) == ["0001_first.sql", "0002_second.sql"]


async def test_an_old_file_that_changed(pool: Pool, tmp_path: Path) -> None:
    """A file that was applied in another form is refused by name."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int);")
    await migrate(pool, "shop", tmp_path)
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id bigint);")
    with pytest.raises(Misconfigured, match=r"0001_first.sql .* differs") as error:
        await migrate(pool, "shop", tmp_path)
    assert "a new migration" in error.value.next_step


async def test_a_newer_database(pool: Pool, tmp_path: Path) -> None:
    """A program that knows fewer migrations than the database has does not start."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int);")
    second = tmp_path / "0002_second.sql"
    second.write_text("SELECT 1;")
    await migrate(pool, "shop", tmp_path)
    second.unlink()
    with pytest.raises(Misconfigured, match=r"shop has 0002_second.sql, which this program does not know"):
        await migrate(pool, "shop", tmp_path)


async def test_a_file_that_fails(pool: Pool, tmp_path: Path) -> None:
    """A file with an error leaves nothing behind, what came before stays, and the corrected file is
    applied."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int);")
    second = tmp_path / "0002_second.sql"
    second.write_text("CREATE TABLE second (id int); SELEC 1;")
    with pytest.raises(Misconfigured, match=r"0002_second.sql: syntax error"):
        await migrate(pool, "shop", tmp_path)
    assert await applied(pool) == ["0001_first.sql"]
    assert await pool.fetchval("SELECT to_regclass('shop.second')") is None
    second.write_text("CREATE TABLE second (id int);")
    await migrate(pool, "shop", tmp_path)
    assert await applied(pool) == ["0001_first.sql", "0002_second.sql"]


async def test_the_lock_is_given_back(pool: Pool, tmp_path: Path) -> None:
    """After a migration, and after one that failed, no lock stays on a connection of the pool."""
    (tmp_path / "0001_first.sql").write_text("SELEC 1;")
    with pytest.raises(Misconfigured):
        await migrate(pool, "shop", tmp_path)
    locks = await pool.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert locks == 0
