"""Serves an application inside our own event loop, until our own Stop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from libs.common.errors import Misconfigured, Retryable
from libs.common.lifecycle import Stop

BACKLOG = 2_048
KEEP_ALIVE_S = 5
DRAIN_DEADLINE_S = 5
"""How long answers that have begun may take once the end was asked for; then they are cut off."""


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: signals are `lifecycle.run`'s."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    stop: Stop,
    *,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Answer requests until `stop`, then finish those that have begun (5 s at most) and return.

    `on_listening` is told the port (which one, when `port` is 0) once the application has started. Raises
    Misconfigured when the address cannot be had, Retryable when the application does not start.
    """
    with _listen(host, port) as listening:
        config = uvicorn.Config(
            app,
            http="h11",  # httptools takes heads without an end, and loses bodies behind an offered upgrade
            log_config=None,  # our own logs, and telemetry instead of an access log
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_DEADLINE_S,
        )
        server = _Server(config)
        watcher = asyncio.ensure_future(_watch(server, stop, listening, on_listening))
        try:
            await server.serve(sockets=[listening])
        except SystemExit as error:
            raise Retryable("http: the application did not start", next_step="see the log") from error
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured(
            f"http: cannot listen on {host}:{port}: {error.strerror}",
            next_step="set HOST and the port of this service to an address that is free",
        ) from error


async def _watch(
    server: uvicorn.Server,
    stop: Stop,
    listening: socket.socket,
    on_listening: Callable[[int], None] | None,
) -> None:
    while on_listening is not None and not server.started:
        if await stop.sleep(10):
            break
    if on_listening is not None and server.started:
        on_listening(listening.getsockname()[1])
    await stop.wait()
    server.should_exit = True
