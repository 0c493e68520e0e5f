"""Ingest workers as processes of one group: started, killed, put to sleep and woken."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local.processes import leashed

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60
COMMAND = (sys.executable, "-m", "services.metrics", "ingest")
SETTINGS = {
    "METRICS_PUBLISH_INTERVAL_MS": "100",
    "METRICS_SNAPSHOT_INTERVAL_MS": "1000",
    "TELEMETRY_PORT": "0",
    "LOG_FORMAT": "text",
}


@dataclass(frozen=True, slots=True)
class Worker:
    """One process, and the file with all that it says."""

    process: Process
    log: Path

    @property
    def pid(self) -> int:
        """The process's number; it stands in the leases too."""
        return self.process.pid

    def said(self) -> str:
        """Return its log so far."""
        return self.log.read_text(errors="replace")

    def sleep(self) -> None:
        """Stop it where it stands; its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        await self.process.wait()

    async def leave(self) -> None:
        """Ask it to end, and see that it ends well."""
        self.process.terminate()
        code = await asyncio.wait_for(self.process.wait(), DEADLINE_S)
        assert code == 0, self.said()


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers of one group on one database. `environment` says where Kafka and PostgreSQL are, `folder`
    is where their logs go."""

    environment: Mapping[str, str]
    folder: Path
    workers: list[Worker] = field(default_factory=list)
    """All that were ever started."""

    async def start(self) -> Worker:
        """Start one more worker. It dies with this process."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *leashed(COMMAND, signal.SIGKILL),
                cwd=ROOT,
                env=os.environ | SETTINGS | dict(self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        return worker

    async def end(self) -> None:
        """Kill whoever is left."""
        for worker in self.workers:
            if worker.process.returncode is None:
                await worker.kill()


@asynccontextmanager
async def crew(environment: Mapping[str, str], folder: Path) -> AsyncIterator[Crew]:
    """A crew without workers; none is left at the end of the block."""
    here = Crew(environment, folder)
    try:
        yield here
    finally:
        await here.end()


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Return when it holds; fail with `what` after the deadline."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await holds():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {DEADLINE_S} s: {what}")
