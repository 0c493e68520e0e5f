"""The bus on Apache Kafka keeps the same contract as the one in memory."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import TopicPartition as KafkaPartition

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.kafka.consumer import KafkaConsumer
from libs.common.bus.ports import Consumer, TopicPartition
from libs.common.clock import SystemClock
from schemas.topics import TOPICS
from tests.contract.bus.place import Place
from tests.contract.bus.suite import BusContract


@pytest.fixture
async def place(kafka_bootstrap_servers: str) -> Place:
    """The stack's Kafka, with all topics."""
    bus = KafkaBus(kafka_bootstrap_servers, client_id="bus-contract", clock=SystemClock())
    await bus.admin().ensure_topics(list(TOPICS))

    async def forget(partition: TopicPartition, before: int) -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
        await client.start()
        try:
            await client.delete_records({KafkaPartition(*partition): RecordsToDelete(before_offset=before)})
        finally:
            await client.close()

    async def expel(consumer: Consumer) -> None:
        assert isinstance(consumer, KafkaConsumer)
        assert consumer._consumer is not None
        coordinator = consumer._consumer._coordinator
        await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))

    return Place(bus, forget, expel)


class TestKafkaBus(BusContract):
    """Runs the suite."""
