"""From 64-bit keys to rows, for many keys at a time: an open-addressed hash table of row numbers."""

import numpy as np

from services.metrics.domain.columns import I32, I64, U64, Rows

_FEWEST = 128
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd: Knuth's multiplicative hashing
_HALF = np.uint64(32)


class Index:
    """The rows of a table by key. The keys stay in the table's own column, which every call is given.

    At most three slots of five are taken. A row whose key was overwritten may be added again under the new
    one: the slot of the old key finds a row with another key, and is passed over.
    """

    def __init__(self) -> None:
        self._slots: I32 = np.zeros(_FEWEST, np.int32)
        self._used = 0

    def find(self, keys: U64, wanted: U64) -> I64:
        """Return the row of each key, NONE where there is none."""
        slots = self._slots
        last = len(slots) - 1
        places = self._places(wanted)
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
            self._grow(keys, rows)
        else:
            self._insert(keys[rows], rows)

    def rebuild(self, keys: U64, count: int) -> None:
        """Hold the first `count` rows of the column and no others."""
        self._slots = np.zeros(_FEWEST, np.int32)
        self._used = 0
        self._grow(keys, np.arange(count))

    def _grow(self, keys: U64, more: Rows) -> None:
        held = np.zeros(max(len(keys), 1), bool)  # a row may stand in two slots, under two keys
        held[self._slots[self._slots > 0] - 1] = True
        held[more] = True
        rows = np.flatnonzero(held)
        size = _FEWEST
        while len(rows) * 5 > size * 2:
            size *= 2
        self._slots = np.zeros(size, np.int32)
        self._used = 0
        self._insert(keys[rows], rows)

    def _insert(self, wanted: U64, rows: Rows) -> None:
        slots = self._slots
        last = len(slots) - 1
        self._used += len(rows)
        places = self._places(wanted)
        marks = rows.astype(np.int32) + np.int32(1)
        while len(places):
            free = slots[places] == 0
            slots[places[free]] = marks[free]  # of several that want one slot the last gets it
            going = slots[places] != marks
            places, marks = (places[going] + 1) & last, marks[going]

    def _places(self, wanted: U64) -> I64:
        shift = np.uint64(65 - len(self._slots).bit_length())
        return (((wanted ^ (wanted >> _HALF)) * _SPREAD) >> shift).astype(np.int64)
