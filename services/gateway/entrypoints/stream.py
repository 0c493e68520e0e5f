"""Live changes as server-sent events (WHATWG HTML, 9.2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from libs.common.errors import Refused
from services.gateway.domain.live import Live, Subscriber

HEARTBEAT_S = 15
KINDS = frozenset(
    {"experiment", "result", "verdict", "rollback", "model_health", "alert", "retraining", "model"}
)


def routes(live: Live) -> APIRouter:
    """Return the route of live changes."""
    router = APIRouter(prefix="/v1", tags=["live"])

    @router.get("/stream", summary="Live changes")
    async def stream(kinds: Annotated[str, Query(max_length=200)] = "") -> StreamingResponse:
        """`kinds`: comma-separated event types, all when left out. The event's name is its type. A reader
        that falls behind gets `lagged` and is sent away: read the state again and reconnect."""
        wanted = frozenset(kind for kind in kinds.split(",") if kind)
        if wanted - KINDS:
            raise Refused(f"kinds are {', '.join(sorted(KINDS))}", field="kinds")
        # Entered before the answer starts, so that "too many listeners" is an answer and not a broken stream.
        held = ExitStack()
        subscriber = held.enter_context(live.subscribe(wanted))
        return StreamingResponse(
            _events(subscriber, held),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router


async def _events(subscriber: Subscriber, held: ExitStack) -> AsyncIterator[bytes]:
    with held:
        yield b": connected\n\n"
        while not subscriber.lagged:
            try:
                event = await asyncio.wait_for(subscriber.queue.get(), HEARTBEAT_S)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            kind = str(getattr(event, "type", "event"))
            yield b"event: " + kind.encode() + b"\ndata: " + event.to_json() + b"\n\n"
        yield b"event: lagged\ndata: {}\n\n"
