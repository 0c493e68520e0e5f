"""Live changes for subscribers: bounded, and a slow one never slows the others."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from libs.common.errors import Retryable
from schemas.event import Contract


class Subscriber:
    """One listener's queue. `lagged` is set once it fell behind: it must connect again."""

    def __init__(self, kinds: frozenset[str], limit: int) -> None:
        self.kinds = kinds
        self.queue: asyncio.Queue[Contract] = asyncio.Queue(limit)
        self.lagged = False

    def offer(self, kind: str, event: Contract) -> None:
        """Queue an event of a kind that it asked for; drop all once the queue is full."""
        if self.lagged or (self.kinds and kind not in self.kinds):
            return
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.lagged = True


class Live:
    """Hands every change to all subscribers."""

    def __init__(self, *, max_subscribers: int, queue_limit: int) -> None:
        self._subscribers: set[Subscriber] = set()
        self._max_subscribers = max_subscribers
        self._queue_limit = queue_limit

    def __len__(self) -> int:
        return len(self._subscribers)

    def tell(self, event: Contract) -> None:
        """Offer an event to everyone who wants its kind."""
        kind = str(getattr(event, "type", ""))
        for subscriber in self._subscribers:
            subscriber.offer(kind, event)

    @contextmanager
    def subscribe(self, kinds: frozenset[str]) -> Iterator[Subscriber]:
        """Listen while the context lasts; no kinds means all. Raises Retryable when there are too many."""
        if len(self._subscribers) >= self._max_subscribers:
            raise Retryable(f"{self._max_subscribers} listeners are connected, which is the limit")
        subscriber = Subscriber(kinds, self._queue_limit)
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
