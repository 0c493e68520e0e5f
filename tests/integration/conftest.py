"""The real stack, once for all integration tests: Apache Kafka and PostgreSQL, embedded or as told."""

import asyncio
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.homes import trimtab_home
from deploy.local.processes import start_mark
from deploy.local.stack import LocalStack

HERE = Path(__file__).parent
CLEAR_DEADLINE_S = 30


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test below this folder needs the stack, and says so."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[LocalStack]:
    """Kafka and PostgreSQL, started on first use and stopped after the last test. Failures leave the logs."""
    folder = trimtab_home(os.environ) / "test"
    for old in folder.glob("*"):
        if start_mark(int(old.name)) is None:  # its test run is over, or was killed
            shutil.rmtree(old, ignore_errors=True)
    home = folder / str(os.getpid())
    with LocalStack.start(home) as running:
        yield running
    if not request.session.testsfailed:
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def kafka_bootstrap_servers(stack: LocalStack) -> str:
    """`host:port` of the stack's Kafka, which holds no topic of the modules before."""
    asyncio.run(_clear(stack.kafka_bootstrap_servers))
    return stack.kafka_bootstrap_servers


@pytest.fixture(scope="module")
def database_url(stack: LocalStack) -> Iterator[str]:
    """The URL of a database of this test module's own, empty, dropped afterwards."""
    name = f"test_{os.getpid()}_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(stack.database_url, f'CREATE DATABASE "{name}"'))
    yield urlsplit(stack.database_url)._replace(path=f"/{name}").geturl()
    asyncio.run(_execute(stack.database_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _clear(bootstrap_servers: str) -> None:
    """Delete every topic, and with it what groups committed. What other modules left is poison here."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        topics = [name for name in await admin.list_topics() if not name.startswith("__")]
        if topics:
            await admin.delete_topics(topics)
        async with asyncio.timeout(CLEAR_DEADLINE_S):
            while any(not name.startswith("__") for name in await admin.list_topics()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
