"""Which errors of asyncpg mean that the same call may succeed later."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from libs.common.errors import Retryable

_OUTAGE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
)


@contextmanager
def outages(what: str) -> Iterator[None]:
    """Raise Retryable, naming `what`, for every error in the block that is an outage of PostgreSQL.

    Lost connections, time-outs, a server that starts, stops, is full or fails over, deadlocks and
    serialisation failures are outages. A wrong statement or argument is a defect and stays what it is.
    """
    try:
        yield
    except _OUTAGE as error:
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
            raise  # a wrong URL or argument
        raise Retryable(f"{what}: PostgreSQL: {error or type(error).__name__}") from error
