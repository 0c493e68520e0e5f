"""Hands out the records that aiokafka parsed without making an object of its own for each.

aiokafka builds a `ConsumerRecord` of eleven fields for every record: half of what reading costs. Its parsed
records have all that a `Batch` needs, so the result of a fetch is unpacked here, a whole batch of the log at
a time, with the same checks: checksum, control batches, and offsets before the one that was asked for.
"""

import weakref
from collections import OrderedDict
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition as Place

from libs.common.bus.batches import Raw


class _Unpacking:
    """What one fetch brought of one partition, and how far it was handed out."""

    def __init__(self, found: FetchResult) -> None:
        # Both hold megabytes, and would do so until the collector comes by: no cycle with `found`, and none
        # between the parsed records and the iterator that is not used.
        self._found: Any = weakref.proxy(found)
        found._partition_records._records_iterator = None
        self._rest: list[Raw] = []
        self._after = 0
        """The offset after the batch that `_rest` is of."""

    def getall(self, max_records: int | None = None) -> list[Raw]:
        """Return up to `max_records` records, as the method that this stands for. Raises
        CorruptRecordException."""
        found = self._found
        if not found.has_more() or not found.check_assignment(found._topic_partition):
            return []
        parsed: PartitionRecords = found._partition_records
        taken: list[Raw] = []
        while max_records is None or len(taken) < max_records:
            if not self._rest and not self._unpack(parsed):
                found._update_position()
                found._partition_records = None
                return taken
            room = len(self._rest) if max_records is None else max_records - len(taken)
            taken += self._rest[:room]
            self._rest = self._rest[room:]
            # The last record of a batch may be gone through compaction: then its end is where to read on.
            parsed.next_fetch_offset = taken[-1].offset + 1 if self._rest else self._after
        found._update_position()
        return taken

    def _unpack(self, parsed: PartitionRecords) -> bool:
        """Unpack batches until one has a record to hand out. Returns False after the last one."""
        while parsed._records.has_next():
            batch = parsed._records.next_batch()
            if parsed._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._found._topic_partition}")
            self._after = batch.next_offset
            if not batch.is_control_batch:
                records = list(batch)
                if records and records[0].offset < parsed.next_fetch_offset:
                    records = [each for each in records if each.offset >= parsed.next_fetch_offset]
                if records:
                    self._rest = records
                    return True
            parsed.next_fetch_offset = self._after
        return False


class _Results(OrderedDict[Place, Any]):
    """Where a fetcher puts what it has fetched."""

    def __setitem__(self, place: Place, found: object) -> None:
        if isinstance(found, FetchResult):
            found.getall = _Unpacking(found).getall
        super().__setitem__(place, found)


def hand_out_raw(consumer: AIOKafkaConsumer) -> None:
    """Let `getmany` of a consumer that was just started return parsed records instead of ConsumerRecords."""
    fetcher = consumer._fetcher
    results = _Results()
    for place, found in fetcher._records.items():
        results[place] = found
    fetcher._records = results
