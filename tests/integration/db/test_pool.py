"""Pools wait for PostgreSQL, and say what is wrong."""

import socket
from urllib.parse import urlsplit

import asyncpg
import pytest

from libs.common.clock import SystemClock
from libs.common.db.pool import Pool, connect, outages
from libs.common.errors import Misconfigured, Retryable


async def test_the_search_path(outbox: Pool) -> None:
    """Tables are found in the schema, on every connection, also when it was given back before."""
    for _ in range(3):
        async with outbox.acquire() as connection:
            assert await connection.fetchval("SELECT current_schema()") == "shop"
            assert await connection.fetchval("SELECT count(*) FROM orders") == 0


async def test_a_machine_that_vanishes_is_noticed(outbox: Pool) -> None:
    """PostgreSQL asks a silent client within seconds whether it is still there."""
    settings = "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"
    assert [await outbox.fetchval("SELECT current_setting($1)", each) for each in settings] == [
        "10",
        "5",
        "3",
    ]


async def test_nobody_answers(clock: SystemClock) -> None:
    """Where nothing listens the deadline ends the waiting, with the place but not the password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started_ms = clock.monotonic_ms()
    url = f"postgresql://me:hunter2@127.0.0.1:{port}/shop"
    with pytest.raises(Retryable, match=r"connecting to 127.0.0.1/shop: gave up after \d+ attempts") as error:
        await connect(url, schema="shop", deadline_ms=500, clock=clock)
    assert 400 <= clock.monotonic_ms() - started_ms < 5_000
    assert "hunter2" not in str(error.value)


async def test_a_database_that_is_not_there(database_url: str, clock: SystemClock) -> None:
    """A wrong database's name is a person's to correct: no waiting."""
    url = urlsplit(database_url)._replace(path="/no_such").geturl()
    with pytest.raises(Misconfigured, match="no_such") as error:
        await connect(url, schema="shop", deadline_ms=60_000, clock=clock)
    assert "DATABASE_URL" in error.value.next_step


async def test_a_strange_url(clock: SystemClock) -> None:
    """What is no URL of PostgreSQL is refused."""
    with pytest.raises(Misconfigured):
        await connect("mysql://here/db", schema="shop", deadline_ms=60_000, clock=clock)


async def test_a_lost_connection_is_an_outage(pool: Pool) -> None:
    """A connection that the server ends is Retryable; the pool opens another one."""
    with pytest.raises(Retryable, match="asking: PostgreSQL"), outages("asking"):
        await pool.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    with outages("asking"):
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_wrong_argument_is_a_defect(pool: Pool) -> None:
    """An argument of the wrong type is not called an outage."""
    with pytest.raises(asyncpg.DataError, match="invalid input"), outages("asking"):
        await pool.fetchval("SELECT $1::int", "no number")
