"""How much to fold at a time, so that the event loop is never kept from its heartbeats for long."""

from collections.abc import Iterator
from contextlib import contextmanager

from libs.common.clock import Clock

_FIRST = 500


class Slices:
    """Learns how many records fit into `max_slice_ms`: half as many after a slice that took longer, twice as
    many after a full one that took less than a quarter. Between 1 and `max_records`."""

    def __init__(self, clock: Clock, max_slice_ms: float, max_records: int) -> None:
        self._clock = clock
        self._max_slice_ms = max_slice_ms
        self._max_records = max_records
        self.size = min(_FIRST, max_records)

    @contextmanager
    def timed(self, records: int) -> Iterator[None]:
        """Time a slice of so many records and learn from it."""
        started_ms = self._clock.monotonic_ms()
        yield
        took_ms = self._clock.monotonic_ms() - started_ms
        if took_ms > self._max_slice_ms:
            self.size = max(self.size // 2, 1)
        elif records >= self.size and took_ms < self._max_slice_ms / 4:
            self.size = min(self.size * 2, self._max_records)
