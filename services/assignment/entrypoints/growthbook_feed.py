"""Tell whoever listens when the payload of GrowthBook's SDKs changes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from services.assignment.handlers.read_growthbook import GrowthbookReader, Payload

LOOK_MS = 250
"""How often the rules are looked at while somebody listens."""
CLOSE_AFTER_MS = 500
"""How long streams outlive the wish to end. By then the port is closed: an SDK whose stream ends tries again
at once and for ever, but waits where nobody answers."""


class Feed:
    """Holds the newest payload for any number of listeners, at most `max_listeners`.

    A slow listener misses what was replaced meanwhile, never the newest; it costs no memory of its own.
    """

    def __init__(self, reader: GrowthbookReader, *, max_listeners: int) -> None:
        self._reader = reader
        self._max_listeners = max_listeners
        self._listeners: set[asyncio.Event] = set()
        self.newest: Payload | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._listeners)

    @contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """Listen while the context lasts: the event is set when `newest` or `closed` has changed.

        Raises Retryable when there are too many.
        """
        if len(self) >= self._max_listeners:
            raise Retryable(
                f"{self._max_listeners} streams are open, which is the limit",
                next_step="poll /api/features, or run another process of the service",
            )
        changed = asyncio.Event()
        self._listeners.add(changed)
        try:
            yield changed
        finally:
            self._listeners.discard(changed)

    async def look(self) -> None:
        """Take the payload as it is now, and wake the listeners when it is another. Raises Retryable."""
        payload = await self._reader.current()
        if self.newest is None or payload.etag != self.newest.etag:
            self.newest = payload
            self._wake()

    async def run(self, stop: Stop) -> None:
        """Look again and again while somebody listens. After `stop`, end every stream."""
        while not await stop.sleep(LOOK_MS):
            if self._listeners:
                try:
                    await self.look()
                except Retryable:
                    continue  # the database is away: what was last heard stays in force
        await asyncio.sleep(CLOSE_AFTER_MS / 1_000)
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        for changed in self._listeners:
            changed.set()
