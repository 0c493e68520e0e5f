"""Tells a consumer that has nothing to read from one that has stopped reading."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from libs.common.bus.ports import TopicPartition
from libs.common.clock import Clock
from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health

log = logging.getLogger(__name__)

WATCH_INTERVAL_MS = 1_000
ANSWER_DEADLINE_MS = 5_000

Behind = Callable[[], Awaitable[str]]


class Progress:
    """What has been handled, and whether anything is being handled now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_offsets: dict[TopicPartition, int] = {}
        self.at_work = 0
        """Handlers that are running."""
        self.moved_at_ms = clock.monotonic_ms()
        """When it was last known that nothing stands still, by the clock's monotonic time."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count as at work: a slow handler is no stalled consumer."""
        self.at_work += 1
        try:
            yield
        finally:
            self.at_work -= 1

    def moved(self) -> None:
        """Something has happened: start to wait anew."""
        self.moved_at_ms = self._clock.monotonic_ms()

    def handled(self, place: TopicPartition, offset: int) -> None:
        """The record at `offset` is done."""
        self._next_offsets[place] = offset + 1
        self.moved()

    def reassigned(self) -> None:
        """Partitions have come or gone: where they stand is to be asked again."""
        self._next_offsets.clear()
        self.moved()

    def knows(self, place: TopicPartition) -> bool:
        """Return True when it is known where this partition stands."""
        return place in self._next_offsets

    def begins_at(self, place: TopicPartition, offset: int) -> None:
        """Note where reading begins, unless a record was handled meanwhile."""
        self._next_offsets.setdefault(place, offset)

    def lag(self, ends: Mapping[TopicPartition, int]) -> str:
        """Return in words what lies between the last record handled and these ends of the log; "" for
        nothing."""
        lags = {place: end - self._next_offsets.get(place, end) for place, end in ends.items()}
        return ", ".join(f"{place}: {lag} records" for place, lag in lags.items() if lag > 0)


class Watchdog:
    """Looks every second. Its heartbeat says that the loop turns."""

    def __init__(self, progress: Progress, *, stall_ms: int, clock: Clock, health: Health) -> None:
        self._progress = progress
        self._stall_ms = stall_ms
        self._clock = clock
        self._health = health

    async def run(self, behind: Behind, stop: Stop) -> None:
        """Watch until `stop`. `behind` says what there is to read and has not been, "" when nothing is.

        Raises Retryable when it always said something for `stall_ms` while nothing was handled.
        """
        while not await stop.sleep(WATCH_INTERVAL_MS):
            self._health.beat("watchdog")
            found = await self._ask(behind)
            if not found or self._progress.at_work:
                self._progress.moved()
            elif self._clock.monotonic_ms() - self._progress.moved_at_ms > self._stall_ms:
                raise Retryable(f"the consumer stands still for {self._stall_ms} ms: {found}")

    async def _ask(self, behind: Behind) -> str:
        try:
            return await asyncio.wait_for(behind(), ANSWER_DEADLINE_MS / 1_000)
        except Exception as error:  # noqa: BLE001 - part of what the watchdog reports
            # The broker is away, or the consumer's thread is dead: either way nothing is known to move.
            return f"the end of the log is unknown ({type(error).__name__}: {error})"
