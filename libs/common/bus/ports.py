"""What a bus promises. `kafka.py` and `memory.py` keep it; one contract suite holds both to it.

Records of one partition keep their order. The same key goes to the same partition, by the same partitioner
(murmur2, as Kafka's own clients) in both. A record is delivered at least once; a topic that
`schemas/topics.py` does not list is refused with Misconfigured before anything is sent or read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from libs.common.errors import Refused, Retryable

if TYPE_CHECKING:
    from libs.common.bus.batches import Batch


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Record(NamedTuple):
    """What was read. `value` is None for a tombstone. `timestamp_ms` is when it was sent, by the sender's
    clock; Kafka takes no record more than an hour ahead of its own (in memory there is one clock)."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent. `value` None deletes the key from a compacted topic."""

    topic: str
    key: str
    value: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


class Position(NamedTuple):
    """Where a message landed."""

    topic: str
    partition: int
    offset: int


class Producer(Protocol):
    """Sends. An answer means that all in-sync replicas have it."""

    async def start(self) -> None:
        """Connect. Raises Retryable when no broker answers."""

    async def stop(self) -> None:
        """Send what is waiting, then disconnect."""

    async def send(self, message: Message) -> Position:
        """Send one message and wait until it is acknowledged.

        Raises Retryable when it is not (it may or may not be in the log: send it again with the same
        event id, once the sender's clock is set where the message says so), Refused when it is larger
        than the bus takes.
        """

    async def send_all(self, messages: Sequence[Message]) -> list[Position | Retryable | Refused]:
        """Send many in one go; the answer of each stands at its place in the list. Keys keep their order."""


class Listener(Protocol):
    """Hears which partitions a group member gains and loses. Called between fetches, never during one."""

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """These are ours no longer: let go of their state. Must return within the session time-out."""

    async def assigned(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """These are ours now. Return where to read on for those whose place is known; the others start at
        the committed offset, or the beginning when there is none."""


class Consumer(Protocol):
    """Reads: as a member of a group (partitions are shared out), or alone (a reader: all partitions)."""

    async def start(self) -> None:
        """Connect and subscribe. Raises Retryable when no broker answers."""

    async def stop(self) -> None:
        """Leave at once; commits nothing by itself."""

    async def fetch(self, *, timeout_ms: int, max_records: int) -> "Mapping[TopicPartition, Batch]":
        """Return what has come, as soon as anything has, at the latest after `timeout_ms` (then it may be
        empty); no batch in it is empty. At most `max_records` in all. Raises Retryable when the broker is
        lost for longer than the client's own retries, Misconfigured when the wanted offset is no longer in
        the log."""

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remember the next offsets for the group: advice for the next owner, not a record.
        Raises Fenced when this member is no longer in the group."""

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read this partition from `offset` on."""

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are read now."""

    def positions(self) -> Mapping[TopicPartition, int]:
        """Return, for each partition that is read now, the offset after the last record handed out, or
        where reading begins when there was none."""

    async def end_offsets(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offset that the next record of each partition will get."""

    async def beginning_offsets(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset that each partition still holds."""


class Admin(Protocol):
    """Creates topics."""

    async def ensure_topics(self, names: Sequence[str]) -> Mapping[str, int]:
        """Create those that are missing, as `schemas/topics.py` describes them. Returns the number of
        partitions of each as it is in the cluster. Raises Retryable when no broker answers; Misconfigured
        when the unit-keyed topics differ in their number of partitions."""


class Bus(Protocol):
    """One cluster. Whoever makes a part of it starts and stops that part."""

    def producer(self) -> Producer:
        """Return a producer, not yet started."""

    def consumer(self, *, group: str, topics: Sequence[str], listener: Listener | None = None) -> Consumer:
        """Return a member of `group` that reads `topics`; equal partition numbers of all its topics go to
        the same member. Not yet started."""

    def reader(self, topics: Sequence[str]) -> Consumer:
        """Return a consumer without a group: all partitions from the beginning. Not yet started."""

    def admin(self) -> Admin:
        """Return the means to create topics."""
