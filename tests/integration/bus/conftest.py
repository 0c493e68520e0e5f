"""The stack's Kafka, seen through the bus and behind it."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from libs.common.bus.kafka import KafkaBus
from schemas.topics import TOPICS
from tests.integration.bus.cluster import CLOCK


@pytest.fixture
async def bus(kafka_bootstrap_servers: str) -> KafkaBus:
    """The stack's Kafka, with all topics."""
    bus = KafkaBus(kafka_bootstrap_servers, client_id="bus-test", clock=CLOCK)
    await bus.admin().ensure_topics(list(TOPICS))
    return bus


@pytest.fixture
async def admin(bus: KafkaBus, kafka_bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """aiokafka's own admin client, to look behind the bus."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
    await client.start()
    yield client
    await client.close()
