"""Units that have as many conversions as are remembered: the earliest stay, whatever comes when."""

from heapq import heapify, heapreplace

import numpy as np

from services.metrics.domain.columns import U64
from services.metrics.domain.counting import Counting, Happened
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

    def offer(self, unit: int, key: U64, happened: Happened) -> None:
        """Let the last conversion of a full unit go where this one lies before it; else refuse this one."""
        heap = self._heap(unit)
        place = -int(happened.at_ms[0]), -int(self._events(unit, key)[0])
        if not heap or place < heap[0][0]:
            return
        row = heapreplace(heap, (place, heap[0][1]))[1]
        log, units = self._store.conversions, np.array([unit])
        leaving = Happened(log.name[[row]], log.at_ms[[row]], log.micro[[row]])
        self._counting.credit(units, leaving, -1)
        self._counting.credit(units, happened, 1)
        log.key[row], log.name[row] = key[0], happened.name[0]
        log.at_ms[row], log.micro[row] = happened.at_ms[0], happened.micro[0]
        self._store.conversion_index.add(log.key, np.array([row]))

    def _heap(self, unit: int) -> list[tuple[Place, int]]:
        if self._compactions != self._store.compactions or len(self._heaps) > _MAX_HEAPS:
            self._heaps, self._compactions = {}, self._store.compactions
        if unit not in self._heaps:
            log = self._store.conversions
            _, rows = self._store.conversions_of(np.array([unit]))
            at_ms, events = (-log.at_ms[rows]).tolist(), self._events(unit, log.key[rows]).tolist()
            heap = [((t, -event), row) for t, event, row in zip(at_ms, events, rows.tolist(), strict=True)]
            heapify(heap)
            self._heaps[unit] = heap
        return self._heaps[unit]

    def _events(self, unit: int, keys: U64) -> U64:
        return of_unit(keys, self._store.units.key[[unit]])
