"""Plain ASGI applications beside FastAPI, for the few paths where its routing and reading cost too much."""

from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.clock import Clock
from libs.common.http.gate import Count


class BodyTooLarge(Exception):
    """The body is larger than this application takes."""


class Gone(Exception):
    """The caller has hung up before the whole body came."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a plain application puts into `scope["route"]`, so that it is counted by its template."""

    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send) -> None:
        """Send it as JSON; with an empty body only its status and headers."""
        length = (b"content-length", str(len(self.body)).encode())
        kind = ((b"content-type", b"application/json"), length) if self.body else ()
        headers = [*kind, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


async def read_body(receive: Receive, *, max_bytes: int) -> bytes:
    """Return the whole body. Raises BodyTooLarge as soon as more than `max_bytes` have come, and Gone."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(body) <= max_bytes:
        return body
    parts, size = [body], len(body)
    while message["type"] == "http.request" and message.get("more_body") and size <= max_bytes:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > max_bytes:
        raise BodyTooLarge(f"the body is larger than {max_bytes} bytes")
    if message["type"] != "http.request":
        raise Gone("the caller has hung up")
    return b"".join(parts)


def watched(app: ASGIApp, *, clock: Clock, traced: bool) -> ASGIApp:
    """Return a plain application that is counted and timed as every other; with `traced`, in spans too.

    A span that nobody exports costs as much as the rest of a short answer: leave it out where none is.
    """
    counted = Count(app, clock)
    return OpenTelemetryMiddleware(counted, exclude_spans=["receive", "send"]) if traced else counted


class Doors:
    """Sends requests to the application whose prefix their path begins with, and the rest to `main`."""

    def __init__(self, main: ASGIApp, doors: Mapping[str, ASGIApp]) -> None:
        self._main = main
        self._doors = tuple(doors.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            path = scope["path"]
            for prefix, app in self._doors:
                if path.startswith(prefix):
                    await app(scope, receive, send)
                    return
        await self._main(scope, receive, send)
