"""A wire to PostgreSQL that can be held up: a host that stands still in the middle of a write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

PIECE_BYTES = 65_536
LARGE_BYTES = 500_000
"""A connection that carried so much since `hold()` is one that carries a snapshot."""


class Wire:
    """Passes all bytes on; after `hold()` a connection that carries much stands still, until `release()`."""

    def __init__(self, host: str, port: int) -> None:
        self._place = host, port
        self._holding = False
        self._go = asyncio.Event()
        self._pumps: set[asyncio.Task[None]] = set()
        self.stalled = asyncio.Event()

    def hold(self) -> None:
        """From now on, stop what is large."""
        self._holding = True

    def release(self) -> None:
        """Let everything pass."""
        self._holding = False
        self._go.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one client to PostgreSQL."""
        down, up = await asyncio.open_connection(*self._place)
        for pump in (self._pump(reader, up), self._pump(down, writer)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)

    async def close(self) -> None:
        """End every connection."""
        for task in self._pumps:
            task.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        carried = 0
        try:
            while piece := await source.read(PIECE_BYTES):
                carried += len(piece) if self._holding else 0
                if self._holding and carried > LARGE_BYTES:
                    self.stalled.set()
                    await self._go.wait()
                target.write(piece)
                await target.drain()
        except ConnectionError:
            return
        finally:
            target.close()


@asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[tuple[Wire, str]]:
    """Give a wire to the database at `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    wire = Wire(parts.hostname or "127.0.0.1", parts.port or 5432)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    credentials, at, _ = parts.netloc.rpartition("@")
    try:
        yield wire, parts._replace(netloc=f"{credentials}{at}127.0.0.1:{port}").geturl()
    finally:
        server.close()
        wire.release()
        await wire.close()
