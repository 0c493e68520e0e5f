"""Many records of one partition in one object: what the hot readers take in.

An object for every record costs as much as reading it from the wire. A batch hands out columns, and makes a
`Record` only of those that somebody asks for: of the few that are poison.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple, Protocol, overload

from libs.common.bus.ports import Record


class Raw(Protocol):
    """A record as a client library parsed it. aiokafka's own parsed records are of this shape."""

    @property
    def offset(self) -> int:
        """Its place in the log."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, by the producer's clock or the broker's."""

    @property
    def key(self) -> bytes | None:
        """What chose its partition."""

    @property
    def value(self) -> bytes | None:
        """What it says; None for a tombstone."""

    @property
    def headers(self) -> Iterable[tuple[str, bytes]]:
        """What it says about itself."""


class _Plain(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


_value: Callable[[Raw], bytes | None] = attrgetter("value")
_timestamp: Callable[[Raw], int] = attrgetter("timestamp")


class Batch(Sequence[Record]):
    """Records of one partition in offset order; a slice of it is a batch."""

    __slots__ = ("__dict__", "_raw", "partition", "topic")

    def __init__(self, topic: str, partition: int, raw: Sequence[Raw]) -> None:
        self.topic = topic
        self.partition = partition
        self._raw = raw

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Batch":
        """Return a batch of these, which are of one partition; at least one."""
        plain = [
            _Plain(each.offset, each.timestamp_ms, each.key, each.value, each.headers) for each in records
        ]
        return cls(records[0].topic, records[0].partition, plain)

    @cached_property
    def values(self) -> list[bytes | None]:
        """The values, in order."""
        return list(map(_value, self._raw))

    @cached_property
    def timestamps_ms(self) -> list[int]:
        """The time stamps of the records, in order; they need not rise."""
        return list(map(_timestamp, self._raw))

    @property
    def first_offset(self) -> int:
        """The offset of the first record."""
        return self._raw[0].offset

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self._raw[-1].offset + 1

    def since(self, offset: int) -> "Batch":
        """Return the records from `offset` on; it may be empty."""
        if not self._raw or self._raw[0].offset >= offset:
            return self
        return Batch(self.topic, self.partition, [each for each in self._raw if each.offset >= offset])

    def __len__(self) -> int:
        return len(self._raw)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "Batch": ...
    def __getitem__(self, index: int | slice) -> "Record | Batch":
        if isinstance(index, slice):
            return Batch(self.topic, self.partition, self._raw[index])
        raw = self._raw[index]
        headers = tuple(raw.headers)
        return Record(self.topic, self.partition, raw.offset, raw.timestamp, raw.key, raw.value, headers)
