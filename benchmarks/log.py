"""Writes a world into Kafka: on the partitions of the product's own partitioner, in large batches."""

from collections.abc import Iterable, Sequence
from functools import cache

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.world import ConversionFact, ExposureFact, World, definitions
from libs.common.bus.kafka import KafkaBus
from libs.common.bus.partitioner import partition_of
from libs.common.clock import SystemClock
from schemas.topics import UNIT_PARTITIONS

EXPOSURES, CONVERSIONS = "exposures", "conversions"
SMALL = "small-"
"""Before the names of the topics with a tenth of the job, for those who would take many minutes."""
BATCH_BYTES = 256 * 1024
_TOPICS = ("exposures", "conversions", "experiments", "dead-letters", "results", "verdicts", "alerts")


async def fill(servers: str, world: World, small: World) -> None:
    """Create the topics and write both worlds and the definitions of the experiments."""
    clock = SystemClock()
    bus = KafkaBus(servers, client_id="benchmark", clock=clock)
    await bus.admin().ensure_topics(_TOPICS)
    await create_topics(servers, [SMALL + EXPOSURES, SMALL + CONVERSIONS])
    now_ms = clock.now_ms()
    for prefix, each in (("", world), (SMALL, small)):
        await _write(servers, prefix + EXPOSURES, each.exposures, now_ms)
        await _write(servers, prefix + CONVERSIONS, each.conversions, now_ms)
    await _define(servers, world.start_ms)


async def create_topics(servers: str, names: Iterable[str]) -> None:
    """Create topics that are not in the product's table, partitioned as the unit-keyed ones."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, UNIT_PARTITIONS, 1) for name in names])
    finally:
        await admin.close()


async def _define(servers: str, start_ms: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        for each in definitions(start_ms):
            await producer.send_and_wait("experiments", each.to_json(), key=each.experiment_id.encode())
    finally:
        await producer.stop()


async def _write(
    servers: str, topic: str, facts: Sequence[ExposureFact] | Sequence[ConversionFact], now_ms: int
) -> None:
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
