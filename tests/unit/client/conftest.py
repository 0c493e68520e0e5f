"""A client under test, and the services that it talks to."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.client.services import Maker, Services, accept
from trimtab import Trimtab


@pytest.fixture
def services() -> Services:
    """Return both services, up and well."""
    return Services()


@pytest.fixture
def make(services: Services) -> Iterator[Maker]:
    """Return a maker of started clients, which are closed at the end."""
    made: list[Trimtab] = []

    def maker(**options: Any) -> Trimtab:
        settings = {"refresh_interval_ms": 20, "flush_interval_ms": 10} | options
        client = Trimtab("http://gateway", "http://assignment", transport=services, **settings)
        made.append(client)
        return client.start()

    yield maker
    services.always, services.script = accept, []
    for client in made:
        client.close()
