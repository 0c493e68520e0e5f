"""Reading topics of the log from their beginning."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Bus, Consumer, TopicPartition
from services.metrics.audit.errors import CannotAudit

FETCH_TIMEOUT_MS = 1_000
MAX_RECORDS = 5_000
MAX_EMPTY_FETCHES = 30
"""In a row: then the records that should be there are not coming."""

Offsets: TypeAlias = Mapping[TopicPartition, int]
"""The next offset of each partition: all records before it are covered."""


@asynccontextmanager
async def reading(bus: Bus, topics: Sequence[str]) -> AsyncIterator[Consumer]:
    """Hold a reader of these topics, which stands at their beginning."""
    reader = bus.reader(topics)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


async def batches(
    reader: Consumer, waiting: Callable[[], Collection[TopicPartition]]
) -> AsyncIterator[Mapping[TopicPartition, Batch]]:
    """Yield what is fetched as long as records of some partitions are waited for. Raises CannotAudit when
    none come."""
    empty = 0
    while left := waiting():
        found = await reader.fetch(timeout_ms=FETCH_TIMEOUT_MS, max_records=MAX_RECORDS)
        empty = 0 if found else empty + 1
        if empty == MAX_EMPTY_FETCHES:
            raise CannotAudit(
                f"{', '.join(map(str, sorted(left)))}: Kafka hands out no more records",
                next_step="see whether all brokers are well, and run the audit again",
            )
        yield found
