"""What is remembered of one unit, in as few bytes as it takes: there may be a million of them.

Event ids are remembered as 64-bit hashes: two of the same unit that collide (one pair in 10^19) are taken for
a repetition. Structs without `gc` hold no cycles, so the collector never walks them, and msgspec encodes them
as they are.
"""

from collections.abc import Iterable, Iterator
from struct import Struct as Layout
from typing import TypeAlias

import xxhash
from msgspec import Struct

from services.metrics.domain.definitions import MetricPlan

digest_of = xxhash.xxh3_64_digest
"""Returns the 64-bit hash of an event id in UTF-8."""
DIGEST_BYTES = 8
_ENTRY = Layout("<8sQqq")
ENTRY_BYTES = _ENTRY.size
pack_entry = _ENTRY.pack
"""Packs one conversion: digest of its event id, hash of its name, event time, value in micro-units."""
_unpack_entries = _ENTRY.iter_unpack

Entry: TypeAlias = tuple[bytes, int, int, int]
"""Digest of the event id, hash of the name, event time, value in micro-units."""

CROSSED = -1
"""Stands for the segment of a unit seen in two variants: counted apart, in neither. It never returns."""


class Enrolment(Struct, array_like=True, gc=False):
    """One unit in one variant of an experiment. Two of the same experiment: the unit is crossed."""

    place: int
    """Which variant: its place among the tallies of the partition."""
    at_ms: int
    """The event time of the first exposure to the variant."""
    seen: bytes
    """Digests of its exposures, 8 bytes each; that of the first one in front."""
    segment: int
    """Where the attributes of the first exposure put the unit (see `segments.py`), or CROSSED."""


class Crowd(Struct, array_like=True, gc=False):
    """The conversions of a unit that has many."""

    entries: dict[bytes, tuple[int, int, int]]
    """By digest: hash of the name, event time, value."""
    ceiling: tuple[int, bytes] | None = None
    """Once the limit is reached: (event time, digest) of the last one that is kept."""


class Unit(Struct, array_like=True, gc=False):
    """Everything about one unit in one partition."""

    enrolments: tuple[Enrolment, ...] = ()
    conversions: bytes | Crowd = b""
    """Packed entries, or an index of them."""
    saved: int = 0
    """The number of the last snapshot that holds it, or that it came after."""

    def entries(self) -> Iterator[Entry]:
        """Return the conversions that are remembered."""
        log = self.conversions
        if isinstance(log, bytes):
            return _unpack_entries(log)
        return ((digest, *rest) for digest, rest in log.entries.items())

    def knows(self, digest: bytes) -> bool:
        """Return whether this conversion is remembered."""
        log = self.conversions
        return holds(log, digest, ENTRY_BYTES) if isinstance(log, bytes) else digest in log.entries

    def keep(self, entries: Iterable[Entry]) -> None:
        """Remember these conversions and no others."""
        if isinstance(self.conversions, bytes):
            self.conversions = b"".join(pack_entry(*each) for each in entries)
        else:
            self.conversions = Crowd({digest: (name, at_ms, micro) for digest, name, at_ms, micro in entries})

    def latest_ms(self) -> int:
        """Return the latest event time of its conversions, 0 without any."""
        return max((at_ms for _, _, at_ms, _ in self.entries()), default=0)


def holds(log: bytes, digest: bytes, width: int) -> bool:
    """Return whether a log of entries of `width` bytes has one that begins with `digest`."""
    place = log.find(digest)
    while place % width:  # found across the edge of two entries; -1 ends this only for a width of 1
        if place < 0:
            return False
        place = log.find(digest, place + 1)
    return True


Amounts: TypeAlias = tuple[int, int, int, int]
"""Of a unit in a metric: conversions after the exposure and their sum, those before it and their sum."""

NOTHING: Amounts = (0, 0, 0, 0)


def amounts(unit: Unit, metric: MetricPlan, first_ms: int) -> Amounts:
    """Return what the unit's remembered conversions come to in a metric."""
    count = total = before = before_total = 0
    wanted, window_ms, back_ms = metric.conversion_hash, metric.window_ms, -metric.covariate_window_ms
    for _, name, at_ms, micro in unit.entries():
        if name != wanted:
            continue
        elapsed_ms = at_ms - first_ms
        if 0 <= elapsed_ms <= window_ms:
            count += 1
            total += micro
        elif back_ms <= elapsed_ms < 0:
            before += 1
            before_total += micro
    return count, total, before, before_total
