"""The retrainer's process and the bus around it, for the tests of the loop."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.common.bus.control import control_message
from libs.common.bus.kafka import KafkaBus
from libs.common.clock import SystemClock
from schemas.event import Contract
from schemas.topics import TOPICS
from schemas.versions import ModelState

MODEL = "retrainer-loop-digits"
DEADLINE_S = 80
CLOCK = SystemClock()
CHECKOUT = Path(__file__).parents[3]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def worker(environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The worker's process; killed at the end if it still lives."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.retrainer", "worker"), cwd=CHECKOUT, env=dict(environment)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Bus:
    """Sends control events, and remembers what the retrainer says about our model."""

    def __init__(self, servers: str) -> None:
        self._bus = KafkaBus(servers, client_id="test", clock=CLOCK)
        self.states: list[ModelState] = []

    async def send(self, topic: str, key: str, event: Contract) -> None:
        """Send one event."""
        producer = self._bus.producer()
        await producer.start()
        await producer.send(control_message(topic, key, event, source="test", clock=CLOCK))
        await producer.stop()

    async def prepare(self) -> None:
        """Create the topics."""
        await self._bus.admin().ensure_topics(list(TOPICS))

    async def read(self) -> None:
        """Read `models` until cancelled."""
        reader = self._bus.reader(["models"])
        await reader.start()
        try:
            while True:
                for records in (await reader.fetch(timeout_ms=200, max_records=100)).values():
                    for record in records:
                        if record.key == MODEL.encode() and record.value:
                            self.states.append(ModelState.model_validate_json(record.value))
        finally:
            await reader.stop()


async def until(what: str, holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until something holds; fail after the deadline, naming it."""
    for _ in range(DEADLINE_S * 10):
        if await holds():
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"not within {DEADLINE_S} s: {what}")
