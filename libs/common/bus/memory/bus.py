"""The bus in memory.

It has what real clusters have and tests need: `down()` and `up()` for an outage, `crash_at()` for the death
of a worker at any record, `forget()` for retention, `compact()` for state topics.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from libs.common.bus.memory.cluster import Client, Cluster
from libs.common.bus.memory.consumer import MemoryConsumer
from libs.common.bus.memory.producer import MemoryProducer
from libs.common.bus.ports import Listener, Record, TopicPartition
from libs.common.bus.rules import check_topics
from libs.common.clock import Clock
from schemas.topics import TOPICS, TopicKind


class MemoryAdmin:
    """Keeps the promises of `ports.Admin`; all topics are there from the start."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def ensure_topics(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return the number of partitions of each. Raises Retryable while the bus is down."""
        check_topics(names)
        self._cluster.check(Client())
        return {name: self._cluster.partitions[name] for name in names}


class MemoryBus:
    """One cluster in memory; topics and their partitions are those of `schemas/topics.py`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cluster = Cluster()

    def producer(self) -> MemoryProducer:
        """Return a producer, not yet started."""
        return MemoryProducer(self._cluster, self._clock)

    def consumer(
        self, *, group: str, topics: Sequence[str], listener: Listener | None = None
    ) -> MemoryConsumer:
        """Return a member of `group` that reads `topics`, not yet started."""
        check_topics(topics)
        return MemoryConsumer(self._cluster, group, topics, listener)

    def reader(self, topics: Sequence[str]) -> MemoryConsumer:
        """Return a consumer of all partitions from the beginning, not yet started."""
        check_topics(topics)
        return MemoryConsumer(self._cluster, None, topics, None)

    def admin(self) -> MemoryAdmin:
        """Return the means to create topics."""
        return MemoryAdmin(self._cluster)

    def records(self, topic: str) -> list[Record]:
        """Return everything that the log of `topic` holds, partition by partition."""
        check_topics([topic])
        logs = [log for partition, log in self._cluster.logs.items() if partition.topic == topic]
        return [record for log in logs for record in log.records]

    def committed(self, group: str) -> Mapping[TopicPartition, int]:
        """Return the offsets that `group` has committed."""
        return dict(self._cluster.group(group).committed)

    def down(self) -> None:
        """Begin an outage: every call raises (or answers) Retryable until `up()`."""
        self._cluster.down = True
        self._cluster.wake()

    def up(self) -> None:
        """End the outage; nothing that was acknowledged is lost."""
        self._cluster.down = False
        self._cluster.wake()

    def crash_at(
        self, topic: str, *, after: int, on: Literal["read", "sent"] = "read", group: str | None = None
    ) -> None:
        """Let a crash happen when `after` (at least 1) more records of `topic` were handed out to consumers,
        or sent: exactly that many get through, then the next operation raises Crash. All clients die that are
        open at that moment; with `group`, only the member of it that read the record. The dead stay dead, and
        their partitions go to others; clients made afterwards work."""
        if after < 1:
            raise ValueError("after must be at least 1")
        check_topics([topic])
        self._cluster.crash_at(on, topic, after, group)

    def forget(self, partition: TopicPartition, *, before: int) -> None:
        """Drop the records of a partition before an offset, as retention does."""
        self._cluster.logs[partition].forget(before)

    def compact(self) -> None:
        """Keep only the latest record per key of all state topics, as the log cleaner does."""
        for partition, log in self._cluster.logs.items():
            if TOPICS[partition.topic].kind is TopicKind.STATE:
                log.compact()
