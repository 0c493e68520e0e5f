"""The commands `reset` and `rebuild` beside a real ingest process: what is forgotten comes back exactly."""

import asyncio
import json
import os
import secrets
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import NamedTuple, TypeAlias

import pytest

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message, Position
from libs.common.clock import ManualClock, SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from libs.common.partitions.reset import Wish, reset
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.facts import Conversion, Exposure
from schemas.topics import UNIT_PARTITIONS
from services.metrics.adapters.judgements import PostgresJudgements
from services.metrics.audit.check import audit
from services.metrics.audit.published import PostgresPublished
from services.metrics.bootstrap.ground import MIGRATIONS, SCHEMA, TOPICS, UNIT_TOPICS
from services.metrics.bootstrap.reset import HELD
from services.metrics.domain.cases import Case, Judgement

DEADLINE_S = 60
UNITS = 300
HOUR_MS = 3_600_000
_ROWS = dict.fromkeys(HELD.tables, "*") | {
    "partition_experiments": "partition, experiment_id, multi_variant_units, latest_ms"
}
"""What is compared: all but an experiment's version, which counts writes."""

Rows: TypeAlias = Mapping[str, frozenset[tuple[object, ...]]]
"""Every published row, by table."""


class Said(NamedTuple):
    """What a command left."""

    code: int | None
    text: str


class Place:
    """Processes of metrics on a database of their own, and what they publish."""

    def __init__(self, servers: str, database_url: str, pool: Pool) -> None:
        self.bus = KafkaBus(servers, client_id="test", clock=SystemClock())
        self.pool = pool
        self.key = f"reset-{secrets.token_hex(4)}"
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "DATABASE_URL": database_url,
            "METRICS_INGEST_GROUP": self.key,
            "METRICS_PUBLISH_INTERVAL_MS": "50",
            "METRICS_SNAPSHOT_INTERVAL_MS": "100",
            "LOG_FORMAT": "text",
        }

    @asynccontextmanager
    async def ingest(self) -> AsyncIterator[Process]:
        """Run ingest; it ends in order at the end of the block."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.metrics", "ingest"), env=self._environment, stderr=DEVNULL
        )
        try:
            yield process
            assert process.returncode is None, "ingest ended by itself"
            process.terminate()
            assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def command(self, *words: str) -> Said:
        """Run a command to its end."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.metrics", *words),
            env=self._environment,
            stdout=PIPE,
            stderr=PIPE,
        )
        said, complained = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        return Said(process.returncode, (said + complained).decode())

    async def send(self, *messages: Message) -> None:
        """Append and wait for every acknowledgement."""
        producer = self.bus.producer()
        await producer.start()
        try:
            answers = await producer.send_all(messages)
        finally:
            await producer.stop()
        assert all(isinstance(answer, Position) for answer in answers)

    async def send_facts(self, seed: int) -> None:
        """Send more facts of the experiment's units."""
        await self.send(*facts(self.key, SystemClock().now_ms() - 2 * HOUR_MS, Random(seed)))

    async def rows(self) -> Rows:
        """Return every row that is published."""
        return {
            table: frozenset(tuple(row) for row in await self.pool.fetch(f"SELECT {columns} FROM {table}"))
            for table, columns in _ROWS.items()
        }

    async def until_covered(self) -> None:
        """Return when all facts in the log are published."""
        reader = self.bus.reader(UNIT_TOPICS)
        await reader.start()
        end = sum((await reader.end_offsets(reader.assignment())).values())
        await reader.stop()
        async with asyncio.timeout(DEADLINE_S):
            while await self._covered() != end:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _covered(self) -> int:
        leases = await self.pool.fetch("SELECT published_offsets FROM partition_leases")
        return sum(sum(json.loads(row[0]).values()) for row in leases)

    async def epochs(self) -> dict[int, int]:
        """Return the epoch of each partition."""
        rows = await self.pool.fetch("SELECT partition, epoch FROM partition_leases")
        return {row["partition"]: row["epoch"] for row in rows}

    async def snapshots(self) -> set[int]:
        """Return the partitions that have a snapshot."""
        rows = await self.pool.fetch("SELECT DISTINCT partition FROM partition_snapshots")
        return {row["partition"] for row in rows}

    async def is_exact(self) -> bool:
        """Return what the audit says."""
        return (await audit(self.key, self.bus, PostgresPublished(self.pool))).equal


def definition(key: str, now_ms: int) -> Experiment:
    """Return a running experiment with all that ingest measures."""
    revenue = Metric(name="revenue", conversion="purchase", kind=MetricKind.MEAN, window_ms=HOUR_MS)
    return Experiment(
        experiment_id=key,
        variants=(Variant(key="a"), Variant(key="b")),
        control="a",
        metrics=(
            Metric(name="bought", conversion="purchase"),
            revenue.model_copy(update={"upper_bound": 80.0, "covariate_window_ms": HOUR_MS}),
        ),
        breakdowns=(Breakdown(attribute="land", values=("de",)),),
        state=ExperimentState.RUNNING,
        revision=1,
        stage_started_at_ms=now_ms,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        changed_by="test",
        reason="test",
    )


def facts(key: str, start_ms: int, random: Random) -> list[Message]:
    """Return exposures, some to a second variant, and conversions before and after them, in any order."""
    found = []
    for number in range(UNITS):
        unit, variant = f"{key}-{number}", "ab"[number % 2]
        exposure = Exposure(
            event_id=f"e-{random.getrandbits(64)}",
            occurred_at_ms=start_ms + random.randrange(HOUR_MS),
            unit_id=unit,
            experiment_id=key,
            variant="ab"[random.random() < 0.5] if random.random() < 0.02 else variant,
            attributes={"land": random.choice(("de", "fr"))},
        )
        conversion = Conversion(
            event_id=f"c-{random.getrandbits(64)}",
            occurred_at_ms=start_ms + random.randrange(HOUR_MS),
            unit_id=unit,
            name="purchase",
            value=random.uniform(-5.0, 95.0),
        )
        found += [
            Message("exposures", unit, exposure.to_json()),
            Message("conversions", unit, conversion.to_json()),
        ]
    random.shuffle(found)
    return found


@pytest.fixture
async def place(kafka_bootstrap_servers: str, database_url: str) -> AsyncIterator[Place]:
    """A new schema, a new group, and the facts of a new experiment in the log."""
    pool = await connect(database_url, schema=SCHEMA, deadline_ms=20_000, clock=SystemClock())
    async with pool:
        await pool.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await migrate(pool, SCHEMA, MIGRATIONS)
        here = Place(kafka_bootstrap_servers, database_url, pool)
        await here.bus.admin().ensure_topics(TOPICS)
        defined = definition(here.key, SystemClock().now_ms())
        await here.send(Message("experiments", here.key, defined.to_json()))
        await here.send_facts(seed=1)
        yield here


async def test_reset_and_rebuild_give_the_same_rows_again(place: Place) -> None:
    """While ingest is at work a reset is refused and changes nothing. After it has left, one partition is
    forgotten alone, then all of them; each time the next ingest publishes the very same rows."""
    async with place.ingest():
        await place.until_covered()
        refused = await place.command("reset", "--yes")
        assert (refused.code, "ingest is at work" in refused.text) == (2, True), refused.text
        await place.until_covered()
    before = await place.rows()
    assert all(before.values())
    one = await place.command("reset", "--yes", "--partition", "2")
    assert (one.code, "partitions [2]" in one.text) == (0, True), one.text
    left = {table: frozenset(row for row in rows if row[0] != 2) for table, rows in before.items()}
    assert await place.rows() == left != before
    assert await place.snapshots() == set(range(UNIT_PARTITIONS)) - {2}
    async with place.ingest():
        await place.until_covered()
    assert await place.rows() == before
    everything = await place.command("rebuild", "--yes")
    assert everything.code == 0, everything.text
    assert set((await place.rows()).values()) == {frozenset()}
    assert await place.snapshots() == set()
    async with place.ingest():
        await place.until_covered()
    assert await place.rows() == before
    assert await place.is_exact()


async def test_reset_by_force_while_ingest_works(place: Place) -> None:
    """With --force the worker loses its partitions in mid-work, takes them again by itself under a new epoch,
    reads the log anew and goes on: the same rows, and the audit holds for what comes later."""
    async with place.ingest():
        await place.until_covered()
        before, epochs = await place.rows(), await place.epochs()
        forced = await place.command("reset", "--yes", "--force")
        assert forced.code == 0, forced.text
        await place.until_covered()
        assert await place.rows() == before
        assert {number: epoch + 2 for number, epoch in epochs.items()} == await place.epochs()
        await place.send_facts(seed=2)
        await place.until_covered()
        assert await place.is_exact()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A new schema."""
    pool = await connect(database_url, schema=SCHEMA, deadline_ms=20_000, clock=SystemClock())
    async with pool:
        await pool.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await migrate(pool, SCHEMA, MIGRATIONS)
        yield pool


async def count(pool: Pool, partition: int, writes: int) -> None:
    """Publish an experiment so many times."""
    await pool.execute(
        "INSERT INTO partition_leases (partition, epoch, owner) VALUES ($1, 1, 'me') ON CONFLICT DO NOTHING",
        partition,
    )
    await pool.execute(
        "INSERT INTO partition_experiments VALUES ($1, 'checkout', 0, 0, $2)"
        " ON CONFLICT (experiment_id, partition) DO UPDATE SET version = excluded.version",
        partition,
        writes,
    )


@pytest.mark.parametrize("partition", [None, 1])
async def test_the_judge_looks_again(pool: Pool, partition: int | None) -> None:
    """What is counted anew after a reset, of one partition or of all, is new to the judge, though its version
    may be the one that was judged before."""

    def decide(case: Case) -> Judgement:
        return Judgement(clock.now_ms(), None, None, (), case.memory)

    clock = ManualClock()
    judgements = PostgresJudgements(pool, clock)
    await judgements.keep(definition("checkout", clock.now_ms()))
    for number in (0, 1):
        await count(pool, number, writes=3)
    await judgements.settle("checkout", decide)
    assert await judgements.due(judged_before_ms=clock.now_ms(), limit=9) == []
    await reset(pool, Wish(partition), HELD.tables, None, HELD.also)
    for number in (0, 1):
        await count(pool, number, writes=3)
    assert await judgements.due(judged_before_ms=clock.now_ms(), limit=9) == ["checkout"]
    await judgements.settle("checkout", decide)
    assert await judgements.due(judged_before_ms=clock.now_ms(), limit=9) == []
