"""aiokafka consumers as this bus uses them: made and closed, and what they say about offsets."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import TopicPartition as Place

from libs.common.bus.kafka import limits
from libs.common.bus.kafka.failures import answered
from libs.common.bus.ports import TopicPartition

log = logging.getLogger(__name__)


def make_consumer(
    bootstrap_servers: str, *, client_id: str, group: str | None, member: str = ""
) -> AIOKafkaConsumer:
    """Return an aiokafka consumer that never commits by itself and never resets an offset silently."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        client_id=client_id,
        group_id=group,
        group_instance_id=member or None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=limits.SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=limits.HEARTBEAT_MS,
        max_poll_interval_ms=limits.MAX_POLL_MS,
        request_timeout_ms=limits.REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=limits.FETCH_BYTES,
    )


def identity(consumer: AIOKafkaConsumer) -> tuple[str, int]:
    """Return the name of this member and the generation of its group; aiokafka tells neither in public."""
    coordinator = consumer._coordinator
    return str(coordinator.member_id), int(coordinator.generation)


def check_coordination(consumer: AIOKafkaConsumer) -> None:
    """Raise the KafkaError that keeps this member out of its group, or has ended the task that looks after
    its membership. aiokafka keeps such an error until it is asked for, and does not try again before."""
    consumer._coordinator.check_errors()


def places(partitions: Iterable[TopicPartition]) -> list[Place]:
    """Return the partitions as aiokafka's own type, which it insists on."""
    return [Place(topic, partition) for topic, partition in partitions]


async def end_offsets(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the offset that the next record of each partition will get."""
    async with answered("looking up the end of the log"):
        found: Mapping[Place, int] = await consumer.end_offsets(places(partitions))
    return {TopicPartition(*place): offset for place, offset in found.items()}


async def beginning_offsets(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the first offset that each partition holds."""
    async with answered("looking up the beginning of the log"):
        found: Mapping[Place, int] = await consumer.beginning_offsets(places(partitions))
    return {TopicPartition(*place): offset for place, offset in found.items()}


async def committed_offsets(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return what the group has committed, for those partitions where it has."""
    found: dict[TopicPartition, int] = {}
    async with answered("looking up committed offsets"), asyncio.timeout(limits.CALL_TIMEOUT_MS / 1_000):
        for partition in partitions:
            offset = await consumer.committed(Place(*partition))
            if offset is not None:
                found[partition] = offset
    return found


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and disconnect, within 10 s: without a broker that answers, the session runs out."""
    stopping = asyncio.ensure_future(consumer.stop())
    try:
        await asyncio.wait({stopping}, timeout=limits.STOP_TIMEOUT_MS / 1_000)
    finally:
        stopping.cancel()
        await asyncio.wait({stopping})
    if stopping.cancelled() or stopping.exception() is not None:
        log.warning("a consumer was closed without leaving its group")
        await _disconnect(consumer)


async def _disconnect(consumer: AIOKafkaConsumer) -> None:
    # While a broker is away, aiokafka's stop is cancelled by its own fetches and leaves the rest open.
    fetches = [] if consumer._fetcher is None else list(consumer._fetcher._pending_tasks)
    for fetch in fetches:
        fetch.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
    await consumer._client.close()
