"""Serving inside our own loop, on the loopback."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI, Request

from libs.common.errors import Misconfigured, Retryable
from libs.common.http.app import make_app
from libs.common.http.server import serve
from libs.common.lifecycle import Stop

HOST = "127.0.0.1"
DEADLINE_S = 10


async def start(app: FastAPI, stop: Stop) -> tuple[asyncio.Task[None], int]:
    """Return the running server and its port."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(app, HOST, 0, stop, on_listening=port.set_result))
    return server, await asyncio.wait_for(port, DEADLINE_S)


async def test_an_answer_that_has_begun_is_finished() -> None:
    """Stop lets a running request end, refuses new ones, and leaves the signals alone."""
    app = make_app("test")
    begun, go_on = asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    stop = Stop()
    server, port = await start(app, stop)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", trust_env=False) as client:
        request = asyncio.create_task(client.get("/slow"))
        await asyncio.wait_for(begun.wait(), DEADLINE_S)
        stop.set("test")
        go_on.set()
        answer = await asyncio.wait_for(request, DEADLINE_S)
    assert answer.json() == "done"
    assert "server" not in answer.headers
    await asyncio.wait_for(server, DEADLINE_S)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)


async def test_a_server_that_is_told_to_stop_at_once_returns() -> None:
    """A Stop that came before the start ends the server, not the process's patience."""
    stop = Stop()
    stop.set("too late")
    await asyncio.wait_for(serve(make_app("test"), HOST, 0, stop), DEADLINE_S)


async def test_a_taken_port_is_a_misconfiguration() -> None:
    """Who asks for a port that is taken is told so, instead of a bare exit."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(Misconfigured, match="cannot listen"):
            await serve(make_app("test"), HOST, taken.getsockname()[1], Stop())


async def test_an_application_that_does_not_start_is_an_error() -> None:
    """A start-up that fails reaches the caller as an error, not as SystemExit."""

    def connect() -> None:
        raise Retryable("no database")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        connect()
        yield

    with pytest.raises(Retryable, match="did not start"):
        await serve(make_app("test", lifespan=lifespan), HOST, 0, Stop())


async def ask(port: int, *parts: bytes) -> bytes:
    """Return what comes back on a connection of its own, until its end or the end of a first answer."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=1_000_000)
    try:
        async with asyncio.timeout(DEADLINE_S):
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.readuntil(b"}")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except ConnectionError:
        return b""
    finally:
        writer.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """Serve an application that says what it was sent; yield its port."""
    app = make_app("test")

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, str]:
        return {"body": (await request.body()).decode()}

    stop = Stop()
    server, port = await start(app, stop)
    try:
        yield port
    finally:
        stop.set("test")
        await asyncio.wait_for(server, DEADLINE_S)


@pytest.mark.parametrize("cut", [0, 30, 120, 168, 170])
async def test_an_offered_upgrade_loses_no_body(cut: int) -> None:
    """A request that offers HTTP/2, as Java's HttpClient's do, is answered in HTTP/1.1 with its body read,
    wherever the network cuts it."""
    request = (
        b"POST /echo HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\nHost: a\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\nContent-Type: text/plain\r\n\r\nhello"
    )
    async with echoing() as port:
        answer = await ask(port, request[:cut], request[cut:])
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b'{"body":"hello"}')


@pytest.mark.parametrize("begin", [b"POST /", b"POST /echo HTTP/1.1\r\nHost: a\r\nx: "])
async def test_a_head_without_an_end_is_refused(begin: bytes) -> None:
    """A request line or header that goes on and on costs the caller the connection, not us our memory."""

    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        for _ in range(1_000):
            writer.write(b"x" * 10_000)
            await asyncio.wait_for(writer.drain(), DEADLINE_S)

    async with echoing() as port:
        _, writer = await asyncio.open_connection(HOST, port)
        with pytest.raises(ConnectionError):
            await pour(writer)
        writer.close()


async def test_what_is_no_http_is_400() -> None:
    """Nonsense, a path that is no ASCII and CONNECT are refused, and a large body is not taken for a head."""
    async with echoing() as port:
        for nonsense in (
            b"hello\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        ):
            assert (await ask(port, nonsense)).startswith(b"HTTP/1.1 400")
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"
        assert (await ask(port, head, b"x" * 300_000)).startswith(b"HTTP/1.1 200")
