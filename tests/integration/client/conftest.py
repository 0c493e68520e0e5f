"""Real services for real processes."""

from collections.abc import Iterator

import pytest

from tests.integration.client.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """Return both services, up and well."""
    running = Server()
    yield running
    running.close()
