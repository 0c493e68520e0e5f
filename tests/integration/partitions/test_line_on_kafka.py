"""Worker processes on a real Kafka and PostgreSQL: killed, stopped, joined by others, and exact all the
same."""

import asyncio
import signal
import sys
import uuid
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message, Position
from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect

ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).with_name("worker.py")
DEADLINE_S = 60


class Yard:
    """Where workers run, and what their results must be."""

    def __init__(self, servers: str, database_url: str, pool: Pool) -> None:
        self.group = f"line-{uuid.uuid4().hex[:8]}"
        self.pool = pool
        self.truth: Counter[str] = Counter()
        self._arguments = [str(WORKER), servers, database_url, self.group]
        self._bus = KafkaBus(servers, client_id=self.group, clock=SystemClock())
        self._random = Random(7)

    async def ready(self) -> None:
        """Create the topics."""
        await self._bus.admin().ensure_topics(["exposures", "conversions", "dead-letters"])

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Process]:
        """Run a worker process; it is killed at the end of the block if it is still there."""
        process = await asyncio.create_subprocess_exec(sys.executable, *self._arguments, cwd=ROOT)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def send(self, count: int) -> None:
        """Send so many records of 40 units on both topics."""
        messages = []
        for _ in range(count):
            key, value = f"{self.group}/{self._random.randrange(40)}", self._random.randrange(1, 9)
            topic = self._random.choice(["exposures", "conversions"])
            messages.append(Message(topic, key, b"%d" % value))
            self.truth[key] += value
        producer = self._bus.producer()
        await producer.start()
        answers = await producer.send_all(messages)
        await producer.stop()
        assert all(isinstance(answer, Position) for answer in answers)

    async def published(self) -> dict[str, int]:
        """Return the sums in the database."""
        rows = await self.pool.fetch("SELECT key, value FROM sums")
        return {row["key"]: row["value"] for row in rows}

    async def owners(self) -> int:
        """Return how many processes hold partitions."""
        count: int = await self.pool.fetchval("SELECT count(DISTINCT owner) FROM partition_leases")
        return count

    async def reach_truth(self) -> None:
        """Return when the published sums are those of the log. A sum above the truth fails at once."""
        async with asyncio.timeout(DEADLINE_S):
            while (published := await self.published()) != self.truth:
                too_high = {key: value for key, value in published.items() if value > self.truth[key]}
                assert not too_high, "a record was counted twice"
                await asyncio.sleep(0.1)


@pytest.fixture
async def yard(database_url: str, kafka_bootstrap_servers: str, tmp_path: Path) -> AsyncIterator[Yard]:
    """A fresh schema, a fresh group."""
    (tmp_path / "0001_sums.sql").write_text(
        "-- include: partitions\n-- include: partitions_v2\n"
        "CREATE TABLE sums (partition int, key text, value bigint, PRIMARY KEY (partition, key));\n"
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'went backwards: % to %', OLD, NEW; END $$;\n"
        "CREATE TRIGGER never_back BEFORE UPDATE ON sums FOR EACH ROW"
        " WHEN (NEW.value < OLD.value) EXECUTE FUNCTION refuse();"
    )
    clock = SystemClock()
    async with await connect(database_url, schema="counting", deadline_ms=20_000, clock=clock) as pool:
        await pool.execute("DROP SCHEMA IF EXISTS counting CASCADE")
        await migrate(pool, "counting", tmp_path)
        yard = Yard(kafka_bootstrap_servers, database_url, pool)
        await yard.ready()
        yield yard


async def test_killed_again_and_again(yard: Yard) -> None:
    """Workers are killed with SIGKILL in mid-work, others take over: every record counts exactly once and no
    sum ever falls."""
    await yard.send(5_000)
    for _ in range(2):
        async with yard.worker() as victim:
            first = await yard.published()
            async with asyncio.timeout(DEADLINE_S):
                while await yard.published() == first:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await yard.send(2_000)
            victim.kill()
            await victim.wait()
        # A fast victim has published all that it was given: the next one gets something new to publish.
        await yard.send(500)
    async with yard.worker() as last:
        await yard.reach_truth()
        last.send_signal(signal.SIGTERM)
        assert await last.wait() == 0


async def test_joined_and_left(yard: Yard) -> None:
    """While workers join and leave in order, partitions move between them, and every record counts once."""
    await yard.send(2_000)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(yard.worker())
        await yard.reach_truth()
        second = await stack.enter_async_context(yard.worker())
        for _ in range(5):
            await yard.send(500)
            await yard.reach_truth()
        async with asyncio.timeout(DEADLINE_S):
            while await yard.owners() != 2:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await yard.send(500)
        first.send_signal(signal.SIGTERM)
        assert await first.wait() == 0
        await yard.send(500)
        await yard.reach_truth()
        second.send_signal(signal.SIGTERM)
        assert await second.wait() == 0
    left = await yard.pool.fetchval("SELECT max(epoch) FROM partition_leases")
    assert left <= 8, "partitions went to and fro"


async def test_a_worker_that_sleeps(yard: Yard) -> None:
    """A worker that stands still for longer than its session loses its partitions; when it wakes it writes
    nothing of its own, and works on as a member."""
    await yard.send(1_000)
    async with yard.worker() as sleeper:
        await yard.reach_truth()
        sleeper.send_signal(signal.SIGSTOP)
        async with yard.worker() as other:
            await yard.send(1_000)
            await yard.reach_truth()
            sleeper.send_signal(signal.SIGCONT)
            await yard.send(1_000)
            await yard.reach_truth()
            other.kill()
            await other.wait()
            await yard.send(1_000)
            await yard.reach_truth()
        assert sleeper.returncode is None
