"""The logs and groups of a bus in memory."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.common.bus.ports import Record, TopicPartition
from libs.common.bus.rules import overtaken, share_out


class Log:
    """The records of one partition, in order of their offsets; offsets are never used twice."""

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.records: list[Record] = []
        self.beginning = 0
        self.end = 0

    def append(self, record: Record) -> int:
        """Add a record and return the offset it got."""
        self.records.append(record._replace(offset=self.end))
        self.end += 1
        return self.end - 1

    def read(self, offset: int, limit: int) -> list[Record]:
        """Return up to `limit` records from `offset` on. Raises Misconfigured when it is out of range."""
        if not self.beginning <= offset <= self.end:
            raise overtaken(self.partition, offset, self.beginning, self.end)
        start = bisect_left(self.records, offset, key=lambda record: record.offset)
        return self.records[start : start + limit]

    def forget(self, before: int) -> None:
        """Drop the records before an offset, as retention does."""
        self.beginning = max(self.beginning, min(before, self.end))
        self.records = self.records[bisect_left(self.records, self.beginning, key=lambda each: each.offset) :]

    def compact(self) -> None:
        """Keep the latest record of each key, and no tombstone."""
        latest = {record.key: record.offset for record in self.records}
        kept = (record for record in self.records if record.offset == latest[record.key])
        self.records = [record for record in kept if record.value is not None]


@dataclass(slots=True)
class Group:
    """Who reads together. Every change of the members is a new generation with new shares."""

    partitions: Mapping[str, int]
    generation: int = 0
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    shares: dict[str, frozenset[TopicPartition]] = field(default_factory=dict)
    since: dict[TopicPartition, int] = field(default_factory=dict)
    """The generation in which each partition came to the member that has it."""
    _topics: dict[str, frozenset[str]] = field(default_factory=dict)
    _joined: int = 0

    def join(self, topics: frozenset[str]) -> str:
        """Let a member in, who reads `topics`, and return its name."""
        self._joined += 1
        member = f"member-{self._joined:06d}"
        self._topics[member] = topics
        self._rebalance()
        return member

    def leave(self, member: str) -> None:
        """Let a member go; nothing happens when it has gone before."""
        if self._topics.pop(member, None) is not None:
            self._rebalance()

    def _rebalance(self) -> None:
        self.generation += 1
        before = {partition: member for member, share in self.shares.items() for partition in share}
        topics = self._topics
        self.shares = share_out(list(topics), topics, self.partitions) if topics else {}
        for member, share in self.shares.items():
            for partition in share:
                if before.get(partition) != member:
                    self.since[partition] = self.generation
