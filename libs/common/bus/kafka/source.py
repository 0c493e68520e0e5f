"""One connected aiokafka consumer, in the words of `ports.py`: fetches that a rebalance can interrupt."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]
from aiokafka.coordinator.assignors.range import RangePartitionAssignor  # type: ignore[import-untyped]
from aiokafka.errors import IllegalStateError, OffsetOutOfRangeError  # type: ignore[import-untyped]
from aiokafka.structs import ConsumerRecord  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition as Place

from libs.common.bus.kafka import limits
from libs.common.bus.kafka.failures import answered
from libs.common.bus.ports import Record, TopicPartition

log = logging.getLogger(__name__)


def connectable(bootstrap_servers: str, *, client_id: str, group: str | None) -> AIOKafkaConsumer:
    """Return an aiokafka consumer that never commits by itself and never resets an offset silently."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        client_id=client_id,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=limits.SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=limits.HEARTBEAT_MS,
        max_poll_interval_ms=limits.MAX_POLL_MS,
        request_timeout_ms=limits.REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=limits.FETCH_BYTES,
    )
