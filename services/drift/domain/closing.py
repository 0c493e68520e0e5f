"""Until when everything is in: the event time that all partitions' topics which still move have passed."""

from collections.abc import Hashable, Mapping


class ClosingTime:
    """Follows the event times of the partitions' topics.

    The slowest partition holds the others back, unless it stands still while others move: then it has no
    traffic (or its worker is gone), and is waited for no more. Never goes backwards."""

    def __init__(self, *, lateness_ms: int, idle_ms: int) -> None:
        self._lateness_ms = lateness_ms
        self._idle_ms = idle_ms
        self._moved: dict[Hashable, tuple[int, float]] = {}
        self._closed_ms = -1

    def closed_until(self, watermarks: Mapping[Hashable, int], monotonic_ms: float) -> int:
        """Return the event time in ms before which windows may be judged; -1 before there is any event."""
        for partition, watermark_ms in watermarks.items():
            known = self._moved.get(partition, (0, 0.0))  # at 0 it has had no event that counts
            if watermark_ms > known[0]:
                self._moved[partition] = (watermark_ms, monotonic_ms)
        moving = [
            watermark_ms
            for watermark_ms, moved_at_ms in self._moved.values()
            if monotonic_ms - moved_at_ms <= self._idle_ms
        ]
        if moving:
            self._closed_ms = max(self._closed_ms, min(moving) - self._lateness_ms)
        return self._closed_ms
