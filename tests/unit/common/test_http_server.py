"""Serving inside our own loop, on the loopback."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

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
