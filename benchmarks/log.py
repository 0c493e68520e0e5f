"""Writes a world into Kafka: on the partitions of the product's own partitioner, in large batches."""

from collections.abc import Iterable
from functools import cache
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.world import World, definitions
from libs.common.bus.kafka import KafkaBus
from libs.common.bus.partitioner import partition_of
from libs.common.clock import SystemClock
from schemas.experiments import Experiment
from schemas.topics import UNIT_PARTITIONS

EXPOSURES, CONVERSIONS = "exposures", "conversions"
SMALL = "small-"
"""Before the names of the topics with a tenth of the job, for those who would take many minutes."""
BATCH_BYTES = 256 * 1024
_TOPICS = ("exposures", "conversions", "experiments", "dead-letters", "results", "verdicts", "alerts")


class Fact(Protocol):
    """What becomes a record."""

    @property
    def unit_id(self) -> str:
        """The key."""

    def to_json(self) -> bytes:
        """Return the value."""


async def fill(servers: str, world: World, small: World) -> None:
    """Create the topics and write both worlds and the definitions of the experiments."""
    await prepare(servers, definitions(world.start_ms))
    await create_topics(servers, [SMALL + EXPOSURES, SMALL + CONVERSIONS])
    for prefix, each in (("", world), (SMALL, small)):
        await write(servers, prefix + EXPOSURES, each.exposures)
        await write(servers, prefix + CONVERSIONS, each.conversions)


async def prepare(servers: str, experiments: Iterable[Experiment]) -> None:
    """Create the product's topics and tell of some experiments."""
    bus = KafkaBus(servers, client_id="benchmark", clock=SystemClock())
    await bus.admin().ensure_topics(_TOPICS)
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        for each in experiments:
            await producer.send_and_wait("experiments", each.to_json(), key=each.experiment_id.encode())
    finally:
        await producer.stop()


async def create_topics(servers: str, names: Iterable[str]) -> None:
    """Create topics that are not in the product's table, partitioned as the unit-keyed ones."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, UNIT_PARTITIONS, 1) for name in names])
    finally:
        await admin.close()


async def write(servers: str, topic: str, facts: Iterable[Fact]) -> None:
    """Append facts to a topic, in order, stamped with the time of the call."""
    now_ms = SystemClock().now_ms()
    where = cache(lambda unit_id: partition_of(unit_id.encode(), UNIT_PARTITIONS))
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, max_batch_size=BATCH_BYTES, enable_idempotence=True
    )
    await producer.start()
    try:
        batches = {number: producer.create_batch() for number in range(UNIT_PARTITIONS)}
        for fact in facts:
            number, key, value = where(fact.unit_id), fact.unit_id.encode(), fact.to_json()
            if batches[number].append(key=key, value=value, timestamp=now_ms) is None:
                await producer.send_batch(batches[number], topic, partition=number)
                batches[number] = producer.create_batch()
                batches[number].append(key=key, value=value, timestamp=now_ms)
        for number, batch in batches.items():
            if batch.record_count():
                await producer.send_batch(batch, topic, partition=number)
        await producer.flush()
    finally:
        await producer.stop()
