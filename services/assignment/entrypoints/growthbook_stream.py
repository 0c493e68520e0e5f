"""The payload's changes as server-sent events (WHATWG HTML, 9.2), as GrowthBook's SDKs expect them."""

import asyncio
import logging
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from services.assignment.entrypoints.growthbook_feed import Feed
from services.assignment.handlers.read_growthbook import Payload

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15
SLOW_READER_S = 30
RETRY_MS = 2_000


class GrowthbookStream(StreamingResponse):
    """The payload now, and again whenever it changes, until the feed closes.

    `last_event_id`: of the payload that the client has; it is not sent again.
    """

    def __init__(self, feed: Feed, last_event_id: str) -> None:
        self._feed = feed
        self._last_event_id = last_event_id
        super().__init__(
            (),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events. A reader that takes nothing for half a minute is cut off.

        Raises Retryable, before anything is sent, when there are too many listeners.
        """

        async def hurried(message: Message) -> None:
            async with asyncio.timeout(SLOW_READER_S):
                await send(message)

        with self._feed.listen() as changed:
            self.body_iterator = _events(self._feed, changed, self._last_event_id)
            try:
                await super().__call__(scope, receive, hurried)
            except (TimeoutError, ClientDisconnect):
                log.info("a GrowthBook stream was cut off: its reader took nothing for %d s", SLOW_READER_S)


async def _events(feed: Feed, changed: asyncio.Event, sent: str) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    while not feed.closed:
        changed.clear()
        payload = feed.newest
        if payload is not None and payload.etag != sent:
            sent = payload.etag
            yield _event(payload)
            continue
        try:
            async with asyncio.timeout(KEEP_ALIVE_S):
                await changed.wait()
        except TimeoutError:
            yield b": still here\n\n"


def _event(payload: Payload) -> bytes:
    lines = b"".join(b"data: " + line + b"\n" for line in payload.lines)
    return b"event: features\nid: " + payload.etag.encode() + b"\n" + lines + b"\n"
