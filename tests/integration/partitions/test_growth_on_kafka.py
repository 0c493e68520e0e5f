"""Topics on a real Kafka that are given more partitions after ingest began."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from libs.common.bus.kafka import KafkaBus
from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from libs.common.errors import Misconfigured
from libs.common.lifecycle import Stop
from libs.common.partitions.reset import Wish, reset
from schemas.topics import UNIT_PARTITIONS
from tests.integration.partitions.worker import TOPICS, work

DEADLINE_S = 60


@pytest.fixture
async def pool(database_url: str, tmp_path: Path) -> AsyncIterator[Pool]:
    """A fresh schema in this module's database."""
    (tmp_path / "0001_sums.sql").write_text(
        "-- include: partitions\n-- include: partitions_v2\n"
        "CREATE TABLE sums (partition int, key text, value bigint, PRIMARY KEY (partition, key));"
    )
    pool = await connect(database_url, schema="counting", deadline_ms=20_000, clock=SystemClock())
    async with pool:
        await pool.execute("DROP SCHEMA IF EXISTS counting CASCADE")
        await migrate(pool, "counting", tmp_path)
        yield pool


async def test_topics_that_were_grown(kafka_bootstrap_servers: str, database_url: str, pool: Pool) -> None:
    """A worker that starts after both topics were given more partitions refuses what was built before, and
    says what to do; after a reset of all partitions it takes them, the new ones too."""
    bus = KafkaBus(kafka_bootstrap_servers, client_id="growth", clock=SystemClock())
    await bus.admin().ensure_topics([*TOPICS, "dead-letters"])
    group = f"growth-{uuid.uuid4().hex[:8]}"
    await run_until_saved(pool, UNIT_PARTITIONS, kafka_bootstrap_servers, database_url, group)
    await grow(kafka_bootstrap_servers, 2 * UNIT_PARTITIONS)
    with pytest.raises(Misconfigured, match=f"had {UNIT_PARTITIONS} partitions.* have {2 * UNIT_PARTITIONS}"):
        async with asyncio.timeout(DEADLINE_S):
            await work(Stop(), kafka_bootstrap_servers, database_url, group)
    await reset(pool, Wish(force=True), ["sums"], None)
    await run_until_saved(pool, 2 * UNIT_PARTITIONS, kafka_bootstrap_servers, database_url, group)


async def run_until_saved(pool: Pool, count: int, *where: str) -> None:
    """Let a worker take so many partitions, then end it in order."""
    stop = Stop()
    task = asyncio.create_task(work(stop, *where))
    saved = "SELECT count(DISTINCT partition) FROM partition_snapshots WHERE NOT broken"
    async with asyncio.timeout(DEADLINE_S):
        while await pool.fetchval(saved) != count and not task.done():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    stop.set("all are held")
    await task


async def grow(servers: str, count: int) -> None:
    """Give the topics so many partitions, and return when every one has a leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(count) for topic in TOPICS})
        async with asyncio.timeout(DEADLINE_S):
            while await led(admin) != len(TOPICS) * count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def led(admin: AIOKafkaAdminClient) -> int:
    """Return how many partitions have a leader."""
    found = await admin.describe_topics(list(TOPICS))
    return sum(each["leader"] >= 0 for topic in found for each in topic["partitions"])
