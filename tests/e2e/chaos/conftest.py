"""A stack of its own for chaos: a broker that may be killed, and a database for every group of workers."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy.local.stack import LocalStack
from libs.common.clock import SystemClock
from libs.common.db.pool import connect
from services.metrics.bootstrap.ground import SCHEMA
from tests.e2e.chaos.crew import crew
from tests.e2e.chaos.yard import OpenYard, Yard


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Kafka and PostgreSQL, embedded or as the environment says."""
    with LocalStack.start(tmp_path_factory.mktemp("chaos")) as running:
        yield running


@pytest.fixture
async def open_yard(stack: LocalStack, tmp_path: Path) -> AsyncIterator[OpenYard]:
    """Makes yards: each a new database and a new group on the stack's Kafka. No worker outlives the test."""
    async with AsyncExitStack() as undo:

        async def opened() -> Yard:
            name = f"chaos_{uuid.uuid4().hex[:12]}"
            server = await asyncpg.connect(stack.database_url)
            try:
                await server.execute(f'CREATE DATABASE "{name}"')
            finally:
                await server.close()
            url = urlsplit(stack.database_url)._replace(path=f"/{name}").geturl()
            pool = await connect(url, schema=SCHEMA, deadline_ms=20_000, clock=SystemClock())
            undo.push_async_callback(pool.close)
            told = {
                **stack.environment,
                "DATABASE_URL": url,
                "METRICS_INGEST_GROUP": name,
            }
            logs = tmp_path / name
            logs.mkdir()
            workers = await undo.enter_async_context(crew(told, logs))
            return await Yard.open(stack.kafka_bootstrap_servers, pool, workers)

        yield opened
