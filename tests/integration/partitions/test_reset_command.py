"""The commands `reset` and `rebuild` beside a real ingest process, its snapshots in a folder."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message, Position
from libs.common.clock import SystemClock

ROOT = Path(__file__).parents[3]
DEADLINE_S = 40
COUNT = 200


class Drift:
    """Processes of drift, and what they published."""

    def __init__(self, servers: str, database_url: str, tmp_path: Path) -> None:
        (tmp_path / "bodies").mkdir()
        self.servers = servers
        self.database_url = database_url
        self.bodies = tmp_path / "bodies"
        self.environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "DATABASE_URL": database_url,
            "EXAMPLES_DIR": str(tmp_path / "examples"),
            "SNAPSHOT_URL": f"file://{self.bodies}",
            "DRIFT_PUBLISH_INTERVAL_MS": "100",
            "LOG_FORMAT": "text",
        }

    @asynccontextmanager
    async def ingest(self) -> AsyncIterator[Process]:
        """Run ingest; it is killed at the end of the block if it is still there."""
        process = await self._start("ingest")
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def command(self, *words: str) -> tuple[int | None, str]:
        """Run a command; return its exit code and what it said."""
        process = await self._start(*words)
        async with asyncio.timeout(DEADLINE_S):
            said, complained = await process.communicate()
        return process.returncode, (said + complained).decode()

    async def send(self) -> None:
        """Send predictions of many units."""
        producer = KafkaBus(self.servers, client_id="test", clock=SystemClock()).producer()
        await producer.start()
        answers = await producer.send_all([prediction(number) for number in range(COUNT)])
        await producer.stop()
        assert all(isinstance(answer, Position) for answer in answers)

    async def reach(self, count: int) -> None:
        """Return when so many predictions are published."""
        connection = await asyncpg.connect(self.database_url)
        try:
            async with asyncio.timeout(DEADLINE_S):
                while await self._published(connection) != count:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        finally:
            await connection.close()

    async def _published(self, connection: asyncpg.Connection) -> int:
        try:
            found = await connection.fetchval("SELECT sum(predictions)::bigint FROM drift.totals")
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return -1
        return int(found or 0)

    async def _start(self, *words: str) -> Process:
        command = [sys.executable, "-m", "services.drift", *words]
        return await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=self.environment, stdout=PIPE, stderr=PIPE
        )


def prediction(number: int) -> Message:
    """Return a prediction as a producer sends it."""
    event = {
        "type": "prediction",
        "event_id": f"p{number}",
        "occurred_at_ms": SystemClock().now_ms(),
        "unit_id": f"u{number % 40}",
        "model": "digits",
        "model_version": "1",
        "features": {"x": number % 5},
        "output": 3,
    }
    return Message("predictions", f"u{number % 40}", json.dumps(event).encode())


async def test_reset(kafka_bootstrap_servers: str, database_url: str, tmp_path: Path) -> None:
    """Refused while ingest is at work; after it has left, everything goes; the next ingest publishes the same
    again from the log."""
    drift = Drift(kafka_bootstrap_servers, database_url, tmp_path)
    async with drift.ingest() as process:
        await drift.reach(0)
        await drift.send()
        await drift.reach(COUNT)
        code, said = await drift.command("rebuild", "--yes")
        assert code == 2
        assert "ingest is at work" in said
        await drift.reach(COUNT)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            await process.communicate()
        assert process.returncode == 0
    assert os.listdir(drift.bodies) != []
    code, said = await drift.command("rebuild", "--yes")
    assert code == 0, said
    assert "forgotten: partitions [0, 1, 2, 3]" in said
    await drift.reach(0)
    assert os.listdir(drift.bodies) == []
    async with drift.ingest():
        await drift.reach(COUNT)
