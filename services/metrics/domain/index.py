"""From 64-bit keys to rows, for many keys at a time: an open-addressed hash table of row numbers."""

import numpy as np

from services.metrics.domain.columns import I32, I64, U64, Rows

_FEWEST = 128
_PART = 16_384
"""So many slots are taken over with each call: in about a millisecond."""
_NOTHING: I32 = np.zeros(0, np.int32)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd: Knuth's multiplicative hashing
_HALF = np.uint64(32)


class Index:
    """The rows of a table by key. The keys stay in the table's own column, which every call is given.

    At most three slots of five are taken. When there are more, larger slots begin and take the rows over a
    part with each call, so that no call has to wait for all of them; until then both are looked into.

    A row whose key was overwritten may be added again under the new one: the slot of the old key finds a row
    with another key, and is passed over.
    """

    def __init__(self) -> None:
        self._slots: I32 = np.zeros(_FEWEST, np.int32)
        self._used = 0
        self._before: I32 = _NOTHING
        """The smaller slots while they are taken over, and how many of them are."""
        self._moved = 0

    def find(self, keys: U64, wanted: U64) -> I64:
        """Return the row of each key, NONE where there is none."""
        found = self._look(self._slots, keys, wanted)
        if len(self._before):
            missing = np.flatnonzero(found < 0)
            found[missing] = self._look(self._before, keys, wanted[missing])
            self._take_over(keys, _PART)
        return found

    def _look(self, slots: I32, keys: U64, wanted: U64) -> I64:
        last = len(slots) - 1
        places = _places(slots, wanted)
        found = slots[places].astype(np.int64) - 1
        todo = np.flatnonzero((found >= 0) & (keys[found] != wanted))
        while len(todo):
            places[todo] = following = (places[todo] + 1) & last
            rows = slots[following].astype(np.int64) - 1
            found[todo] = rows
            todo = todo[(rows >= 0) & (keys[rows] != wanted[todo])]
        return found

    def add(self, keys: U64, rows: Rows) -> None:
        """Add rows whose keys, which differ, are in the column and not in the index."""
        if (self._used + len(rows)) * 5 > len(self._slots) * 3:
            self._begin_larger(keys, len(rows))
        self._insert(keys[rows], rows)
        if len(self._before):
            self._take_over(keys, max(_PART, 4 * len(rows)))

    def rebuild(self, keys: U64, count: int) -> None:
        """Hold the first `count` rows of the column and no others."""
        self._before, self._moved = _NOTHING, 0
        self._slots = np.zeros(_size_for(count), np.int32)
        self._used = 0
        self._insert(keys[:count], np.arange(count))

    def _begin_larger(self, keys: U64, more: int) -> None:
        if len(self._before):
            self._take_over(keys, len(self._before))
        self._before, self._moved = self._slots, 0
        self._slots = np.zeros(_size_for(self._used + more), np.int32)
        self._used = 0

    def _take_over(self, keys: U64, slots: int) -> None:
        """Take over the rows of so many more slots, each under its present key."""
        part = self._before[self._moved : self._moved + slots]
        self._moved += slots
        rows = part[part > 0] - 1  # one that stands in two slots, under two keys, finds itself there
        self._insert(keys[rows], rows)
        if self._moved >= len(self._before):
            self._before = _NOTHING

    def _insert(self, wanted: U64, rows: Rows) -> None:
        slots = self._slots
        last = len(slots) - 1
        self._used += len(rows)
        places = _places(slots, wanted)
        marks = rows.astype(np.int32) + np.int32(1)
        while len(places):
            free = slots[places] == 0
            slots[places[free]] = marks[free]  # of several that want one slot the last gets it
            going = slots[places] != marks
            places, marks = (places[going] + 1) & last, marks[going]


def _places(slots: I32, wanted: U64) -> I64:
    shift = np.uint64(65 - len(slots).bit_length())
    return (((wanted ^ (wanted >> _HALF)) * _SPREAD) >> shift).astype(np.int64)


def _size_for(rows: int) -> int:
    """Return how many slots these rows get: at most two of five are taken."""
    size = _FEWEST
    while rows * 5 > size * 2:
        size *= 2
    return size
