"""Sends prebuilt HTTP requests over raw sockets, as fast as answers come or at a rate."""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from libs.common.clock import Clock

ANSWER_DEADLINE_S = 30.0


class LoadError(Exception):
    """A server did not answer as it should."""


@dataclass(slots=True)
class Answers:
    """What came back: how long each answer took, in milliseconds, and how many were not 200."""

    took_ms: list[float] = field(default_factory=list)
    bad: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.took_ms) / self.seconds if self.seconds else 0.0


class Connection(asyncio.Protocol):
    """One connection that is kept alive; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[bool] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes) -> asyncio.Future[bool]:
        """Send a request; the future says whether its answer was 200."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self._buffer[:head].lower()
        place = lower.find(b"content-length: ")
        length = int(lower[place + 16 :].split(b"\r", 1)[0]) if place >= 0 else 0
        if len(self._buffer) < head + 4 + length:
            return
        good, self._buffer = lower[9:12] == b"200", b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(good)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class Load:
    """Connections to one server, and the requests that go over them in turn."""

    def __init__(self, port: int, requests: Sequence[bytes], clock: Clock) -> None:
        self._port = port
        self._requests = requests
        self._next = 0
        self._clock = clock

    async def saturate(self, connections: int, seconds: float) -> Answers:
        """Ask on every connection as soon as it has its answer."""
        found, began_ms = Answers(), self._clock.monotonic_ms()
        end_ms = began_ms + seconds * 1_000

        async def ask(connection: Connection) -> None:
            while self._clock.monotonic_ms() < end_ms:
                await self._ask(connection, found, self._clock.monotonic_ms())

        opened = await self._open(connections)
        await asyncio.gather(*(ask(each) for each in opened))
        return self._closed(opened, found, began_ms)

    async def pace(self, rate_per_s: float, connections: int, seconds: float) -> Answers:
        """Ask at random moments, so many a second on average; the time that a request waits for a free
        connection counts."""
        found, idle = Answers(), deque(opened := await self._open(connections))
        chance, free, tasks = random.Random(7), asyncio.Event(), set[asyncio.Task[None]]()
        began_ms = due_ms = self._clock.monotonic_ms()

        async def ask(connection: Connection, since_ms: float) -> None:
            await self._ask(connection, found, since_ms)
            idle.append(connection)
            free.set()

        while due_ms < began_ms + seconds * 1_000:
            wait_ms = due_ms - self._clock.monotonic_ms()
            if wait_ms > 0:
                await asyncio.sleep(wait_ms / 1_000)
            while not idle:
                free.clear()
                await free.wait()
            task = asyncio.create_task(ask(idle.popleft(), due_ms))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due_ms += chance.expovariate(rate_per_s) * 1_000
        await asyncio.gather(*tasks)
        return self._closed(opened, found, began_ms)

    async def _ask(self, connection: Connection, found: Answers, since_ms: float) -> None:
        request = self._requests[self._next]
        self._next = (self._next + 1) % len(self._requests)
        async with asyncio.timeout(ANSWER_DEADLINE_S):
            good = await connection.ask(request)
        found.took_ms.append(self._clock.monotonic_ms() - since_ms)
        found.bad += not good

    async def _open(self, connections: int) -> list[Connection]:
        loop = asyncio.get_running_loop()
        opened = []
        for _ in range(connections):
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
            opened.append(connection)
        return opened

    def _closed(self, opened: Sequence[Connection], found: Answers, began_ms: float) -> Answers:
        found.seconds = (self._clock.monotonic_ms() - began_ms) / 1_000
        for each in opened:
            each.close()
        return found


async def reachable(port: int, deadline_s: float = 60.0) -> None:
    """Return when somebody listens on the port. Raises LoadError."""
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)
    raise LoadError(f"nobody listens on port {port} after {deadline_s} s")
