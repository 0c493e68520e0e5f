"""A pool of connections to one schema of PostgreSQL."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from libs.common.clock import Clock
from libs.common.db.outages import outages
from libs.common.errors import Misconfigured
from libs.common.retry import retry

__all__ = ["Connection", "Pool", "connect", "outages"]

Pool: TypeAlias = asyncpg.Pool
Connection: TypeAlias = PoolConnectionProxy
"""What a pool hands out."""

CONNECT_TIMEOUT_MS = 10_000
COMMAND_TIMEOUT_MS = 15_000
IDLE_IN_TRANSACTION_LIMIT_MS = 5_000
"""A machine that vanishes or stands still in a transaction would otherwise keep its row locks until TCP
notices. Shorter than the session of a group: who takes over its partitions need not wait for the leases."""

_KEEPALIVE: Mapping[str, str] = MappingProxyType(
    {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
)
"""Locks of a session that is idle, as of a migration, go back half a minute after its machine vanished; by
default after two hours."""

_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,39}")


def check_schema(schema: str) -> None:
    """Raise Misconfigured unless `schema` is a plain lower-case name of at most 40 characters."""
    if not _SCHEMA.fullmatch(schema):
        raise Misconfigured(
            f"{schema!r} cannot name a schema", next_step="use a-z, 0-9 and _, a letter first, at most 40"
        )


async def connect(
    database_url: str, *, schema: str, deadline_ms: int, clock: Clock, max_size: int = 5
) -> Pool:
    """Return a pool whose connections have `schema` as their search path (it need not exist yet).

    Waits for PostgreSQL at most `deadline_ms` milliseconds, then raises Retryable. Raises Misconfigured at
    once when the URL, the database's name or the password is wrong. A statement takes 15 s at most unless it
    says otherwise. The caller closes the pool.
    """
    check_schema(schema)
    return await retry(
        lambda: _open(database_url, schema, max_size),
        clock=clock,
        deadline_ms=deadline_ms,
        what=f"connecting to {_place(database_url)}",
    )


async def _open(database_url: str, schema: str, max_size: int) -> Pool:
    try:
        with outages("connecting"):
            return await asyncpg.create_pool(
                database_url,
                min_size=1,
                max_size=max_size,
                timeout=CONNECT_TIMEOUT_MS / 1_000,
                command_timeout=COMMAND_TIMEOUT_MS / 1_000,
                server_settings={
                    "search_path": schema,
                    "application_name": f"trimtab {schema}",
                    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_LIMIT_MS),
                    **_KEEPALIVE,
                },
            )
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise _wrong_url(f"{_place(database_url)}: {error}") from error
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise _wrong_url(str(error)) from error


def _wrong_url(problem: str) -> Misconfigured:
    return Misconfigured(
        f"PostgreSQL: {problem}",
        next_step="correct DATABASE_URL: postgresql://user:password@host:port/database",
    )


def _place(database_url: str) -> str:
    """Return host and database for messages, never the password."""
    parts = urlsplit(database_url)
    return f"{parts.hostname or 'the local socket'}{parts.path}"
