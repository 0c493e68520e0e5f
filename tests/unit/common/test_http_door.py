"""Plain ASGI applications beside FastAPI."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from libs.common.clock import SystemClock
from libs.common.http.app import make_app
from libs.common.http.door import Answer, BodyTooLarge, Doors, Gone, Route, read_body, watched
from libs.common.telemetry.names import HTTP_DURATION, HTTP_REQUESTS, collector


def receiving(*messages: Message) -> Receive:
    """Return the receiving end of a request."""
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


def part(body: bytes, *, more: bool = False) -> Message:
    """Return a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def test_body_whole_and_in_parts() -> None:
    """A body is the same whether it comes at once or in parts."""
    assert await read_body(receiving(part(b"abc")), max_bytes=3) == b"abc"
    parts = (part(b"a", more=True), part(b"", more=True), part(b"bc"))
    assert await read_body(receiving(*parts), max_bytes=3) == b"abc"
    assert await read_body(receiving(part(b"")), max_bytes=3) == b""


@pytest.mark.parametrize("messages", [[part(b"abcd")], [part(b"abc", more=True), part(b"d", more=True)]])
async def test_too_large(messages: list[Message]) -> None:
    """A body over the limit is refused as soon as that much has come, whatever follows."""
    with pytest.raises(BodyTooLarge, match="3 bytes"):
        await read_body(receiving(*messages), max_bytes=3)


@pytest.mark.parametrize("before", [[], [part(b"a", more=True)]])
async def test_caller_hangs_up(before: list[Message]) -> None:
    """Who hangs up before the body is whole has sent none."""
    with pytest.raises(Gone):
        await read_body(receiving(*before, {"type": "http.disconnect"}), max_bytes=3)


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer everything with the path's length, under one route."""
    scope["route"] = Route("/plain/{rest}")
    await Answer(200, str(len(scope["path"])).encode(), ((b"x-plain", b"yes"),)).send(send)


@pytest.fixture(params=[False, True], ids=["untraced", "traced"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a FastAPI application with a plain one beside it."""
    app = make_app("test")
    door = watched(plain, clock=SystemClock(), traced=request.param)
    transport = httpx.ASGITransport(Doors(app, {"/plain/": door}))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_paths_find_their_door(http: httpx.AsyncClient) -> None:
    """What begins with the prefix goes to the plain application, all else to FastAPI; both are counted."""
    labels = {"method": "GET", "route": "/plain/{rest}"}
    count = collector(HTTP_REQUESTS).labels(**labels, status="200")
    before, timed = count._value.get(), collector(HTTP_DURATION).labels(**labels)._sum.get()
    answer = await http.get("/plain/abc")
    assert (answer.json(), answer.headers["x-plain"]) == (10, "yes")
    assert count._value.get() == before + 1
    assert collector(HTTP_DURATION).labels(**labels)._sum.get() > timed
    assert (await http.get("/plainly")).status_code == 404
    assert (await http.get("/plainly")).json()["error"]["type"] == "not_found"


async def test_an_answer_without_a_body() -> None:
    """Where there is no body, none is announced: 304 has neither length nor type."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await Answer(304, b"", ((b"etag", b"x"),)).send(send)
    assert sent[0]["headers"] == [(b"etag", b"x")]
