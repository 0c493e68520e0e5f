"""What every request passes: a limit on its body, and a count of it."""

from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.clock import Clock
from libs.common.http.errors import TOO_LARGE, Problem, error_answer
from libs.common.telemetry.names import HTTP_DURATION, HTTP_REQUESTS, collector

_Counting = tuple[Callable[[], None], Callable[[float], None]]

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class TooLarge(HTTPException):
    """The body is larger than this application takes."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(
            TOO_LARGE, f"the body is larger than {max_body_bytes} bytes", {"Connection": "close"}
        )


class BodyLimit:
    """Answers 413 to a body of more than `max_body_bytes`: at once when the request says its length, else
    as soon as that many bytes have come (chunked bodies say no length, and lengths can lie)."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self._max_body_bytes:
            error = TooLarge(self._max_body_bytes)
            answer = error_answer(TOO_LARGE, Problem("too_large", error.detail), error.headers)
            await answer(scope, receive, send)
            return
        seen_bytes = 0

        async def counted() -> Message:
            nonlocal seen_bytes
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > self._max_body_bytes:
                raise TooLarge(self._max_body_bytes)
            return message

        await self._app(scope, counted, send)


class Count:
    """Counts and times requests by method, route (the template, not the path) and status."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        # To look a collector up by its labels costs more than to count with it; there are few.
        self._known: dict[tuple[str, str, int], _Counting] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and watch its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_ms = self._clock.monotonic_ms()
        status = 500  # what the server answers when nothing was begun

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in KNOWN_METHODS else "other"
            route = _template(scope)
            elapsed_s = (self._clock.monotonic_ms() - started_ms) / 1_000
            count, observe = self._counting(method, route, status)
            count()
            observe(elapsed_s)

    def _counting(self, method: str, route: str, status: int) -> _Counting:
        found = self._known.get((method, route, status))
        if found is None:
            found = self._known[method, route, status] = (
                collector(HTTP_REQUESTS).labels(method=method, route=route, status=str(status)).inc,
                collector(HTTP_DURATION).labels(method=method, route=route).observe,
            )
        return found


def _template(scope: MutableMapping[str, Any]) -> str:
    path: str | None = getattr(scope.get("route"), "path", None)
    return path or "unmatched"
