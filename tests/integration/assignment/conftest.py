"""Assertions of the shared suite explain themselves as those in test files do."""

from collections.abc import AsyncIterator

import pytest

from libs.common.settings import load
from services.assignment.config import AssignmentSettings
from tests.integration.assignment.running import Place, free_port, served

pytest.register_assert_rewrite("tests.unit.assignment.store_contract")


@pytest.fixture
def settings(
    kafka_bootstrap_servers: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AssignmentSettings:
    """Return the settings of a process in this stack, as its environment would give them."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap_servers)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("ASSIGNMENT_PORT", str(free_port()))
    monkeypatch.setenv("ASSIGNMENT_EXPOSURE_DEADLINE_MS", "500")
    return load(AssignmentSettings)


@pytest.fixture
async def place(settings: AssignmentSettings) -> AsyncIterator[Place]:
    """Return the running service."""
    async with served(settings) as here:
        yield here
