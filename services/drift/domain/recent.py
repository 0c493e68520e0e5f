"""A memory with an end: what is older than a time goes, and beyond a limit the oldest goes first."""

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", str, tuple[str, str])
ValueT = TypeVar("ValueT")

STALE_ENTRIES = 1_000


class Recent(Generic[KeyT, ValueT]):
    """Values by key, each with the event time in ms that says how old it is."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[KeyT, tuple[int, ValueT]] = {}
        self._heap: list[tuple[int, KeyT]] = []

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: KeyT) -> bool:
        return key in self._held

    def put(self, key: KeyT, value: ValueT, at_ms: int) -> None:
        """Keep a value; what was there under the key is replaced, time and all."""
        self._held[key] = (at_ms, value)
        heapq.heappush(self._heap, (at_ms, key))

    def get(self, key: KeyT) -> ValueT | None:
        """Return the value, None when it is not there (yet, or any more)."""
        held = self._held.get(key)
        return held[1] if held is not None else None

    def pop(self, key: KeyT) -> None:
        """Let one go, if it is there."""
        self._held.pop(key, None)

    def forget(self, before_ms: int) -> tuple[int, int]:
        """Let go of all that is older than `before_ms`, then of the oldest beyond the limit.

        Returns how many of each."""
        expired = over = 0
        heap, held = self._heap, self._held
        while heap and (heap[0][0] < before_ms or len(held) > self._limit):
            entry: tuple[int, KeyT] = heapq.heappop(heap)
            at_ms, key = entry
            # A key that was replaced or taken out leaves its entry behind, which says nothing any more.
            if key in held and held[key][0] == at_ms:
                del held[key]
                expired += at_ms < before_ms
                over += at_ms >= before_ms
        if len(heap) > 2 * len(held) + STALE_ENTRIES:
            self._heap = [(each[0], name) for name, each in held.items()]
            heapq.heapify(self._heap)
        return expired, over

    def items(self) -> Iterator[tuple[KeyT, int, ValueT]]:
        """Yield key, time and value in the order of the keys."""
        for name, (at_ms, value) in sorted(self._held.items(), key=lambda item: item[0]):
            yield name, at_ms, value
