"""Units that have as many conversions as are remembered: the earliest stay, whatever comes when."""

from heapq import heapify, heapreplace

import numpy as np

from services.metrics.domain.columns import I64, U64
from services.metrics.domain.counting import Counting, Happened
from services.metrics.domain.exact import narrowed
from services.metrics.domain.hashing import of_unit
from services.metrics.domain.store import Store

_MAX_HEAPS = 32
"""Heaps of 10,000 entries take 2 MB each."""

Place = tuple[int, int]
"""Event time and hash of the event's id, both negative: the last one comes first."""


class Crowds:
    """Knows the last conversion of each such unit."""

    def __init__(self, store: Store, counting: Counting) -> None:
        self._store = store
        self._counting = counting
        self._heaps: dict[int, list[tuple[Place, int]]] = {}
        """By the unit's row: of its conversions (place, row)."""
        self._compactions = 0

    def offer(self, units: I64, keys: U64, happened: Happened) -> None:
        """Let the last conversion of a full unit go where one of these lies before it; refuse the others."""
        log = self._store.conversions
        events = of_unit(keys, self._store.units.key[units])
        taken, rows = [], []
        leaving: list[tuple[int, int, int]] = []
        for number, (unit, event) in enumerate(zip(units.tolist(), events.tolist(), strict=True)):
            heap = self._heap(unit)
            place = -int(happened.at_ms[number]), -event
            if not heap or place < heap[0][0]:
                continue
            row = heapreplace(heap, (place, heap[0][1]))[1]
            leaving.append((int(log.name[row]), int(log.at_ms[row]), int(log.micro[row])))
            log.key[row], log.name[row] = keys[number], happened.name[number]
            log.at_ms[row], log.micro[row] = happened.at_ms[number], happened.micro[number]
            taken.append(number)
            rows.append(row)
        if taken:
            # One that came and left again among these is taken out before it is counted in: the sums do not
            # mind the order.
            self._counting.credit(units[taken], _columns(leaving), -1)
            self._counting.credit(units[taken], happened.only(taken), 1)
            self._store.conversion_index.add(log.key, np.array(rows))

    def _heap(self, unit: int) -> list[tuple[Place, int]]:
        if self._compactions != self._store.compactions or len(self._heaps) > _MAX_HEAPS:
            self._heaps, self._compactions = {}, self._store.compactions
        if unit not in self._heaps:
            log = self._store.conversions
            _, rows = self._store.conversions_of(np.array([unit]))
            at_ms, events = (
                (-log.at_ms[rows]).tolist(),
                of_unit(log.key[rows], self._store.units.key[[unit]]).tolist(),
            )
            heap = [((t, -event), row) for t, event, row in zip(at_ms, events, rows.tolist(), strict=True)]
            heapify(heap)
            self._heaps[unit] = heap
        return self._heaps[unit]


def _columns(found: list[tuple[int, int, int]]) -> Happened:
    names, at_ms, micros = zip(*found, strict=True)
    return Happened(np.array(names, np.uint64), np.array(at_ms), narrowed(np.array(micros, object)))
