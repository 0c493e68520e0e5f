"""Puts the two processes together."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.follow import Follower, Handler
from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Bus, Producer
from libs.common.clock import Clock, SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.outbox import OutboxRelay
from libs.common.db.pool import Pool, connect
from libs.common.entrypoints.worker import FaustSettings, FaustWorker
from libs.common.lifecycle import Stop, supervise
from libs.common.partitions.bodies.places import open_bodies
from libs.common.partitions.line import Line, LineSettings
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.common.partitions.reset import Wish
from libs.common.partitions.reset_command import Holding, Reach, run_reset
from libs.common.retry import retry
from libs.common.telemetry.health import Health
from libs.common.telemetry.ops import OpsServer
from services.metrics.adapters.judgements import PostgresJudgements
from services.metrics.adapters.rows import write_rows
from services.metrics.config import MetricsSettings
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.partition import MetricsPartitions
from services.metrics.domain.rows import PartitionRows
from services.metrics.entrypoints.definitions import read_definitions
from services.metrics.entrypoints.ingest import ingest
from services.metrics.entrypoints.worker import decoded, equip
from services.metrics.handlers.judge_due import JudgeDue
from services.metrics.handlers.keep_definition import KeepDefinition, KeepPlan

SCHEMA = "metrics"
UNIT_TOPICS = ("exposures", "conversions")
TOPICS = (*UNIT_TOPICS, "experiments", "results", "verdicts", "alerts", "dead-letters")
MIGRATIONS = Path(__file__).parent / "migrations"
HELD = Holding(
    SCHEMA,
    MIGRATIONS,
    UNIT_TOPICS,
    (
        "partition_experiments",
        "partition_variants",
        "partition_metrics",
        "partition_hours",
        "partition_segments",
    ),
)


@dataclass(frozen=True, slots=True)
class Ground:
    """What both processes stand on."""

    bus: Bus
    producer: Producer
    pool: Pool
    clock: Clock
    health: Health


async def run_ingest(settings: MetricsSettings, stop: Stop) -> None:
    """Run the ingest process until `stop`."""
    async with _ground(settings, "metrics-ingest") as ground:
        bodies = await open_bodies(
            settings.snapshot_url, clock=ground.clock, deadline_ms=settings.startup_deadline_ms
        )
        definitions = Definitions()
        partitions = MetricsPartitions(definitions, IngestLimits(units=settings.metrics_max_units))
        line: Line[PartitionRows] = Line(
            ground.bus,
            group=settings.metrics_ingest_group,
            topics=UNIT_TOPICS,
            factory=partitions,
            store=PostgresPartitionStore(ground.pool, write_rows, bodies),
            dead_letters=_dead_letters(ground, "metrics-ingest"),
            clock=ground.clock,
            health=ground.health,
            settings=LineSettings(
                publish_interval_ms=settings.metrics_publish_interval_ms,
                snapshot_interval_ms=settings.metrics_snapshot_interval_ms,
            ),
        )
        plans = _reader(ground, KeepPlan(definitions), "metrics-ingest")
        await ingest(plans, line, partitions.outcomes, stop)


async def reset(settings: MetricsSettings, wish: Wish) -> list[int]:
    """Forget what partitions hold, and return which; see `libs/common/partitions/reset.py`."""
    clock = SystemClock()
    bus = KafkaBus(settings.kafka_bootstrap_servers, client_id="metrics-reset", clock=clock)
    url = settings.database_url.get_secret_value()
    reach = Reach(bus, url, settings.snapshot_url, clock, settings.startup_deadline_ms)
    return await run_reset(HELD, reach, wish)


async def run_judge(settings: MetricsSettings, stop: Stop) -> None:
    """Run the judge process until `stop`."""
    async with _ground(settings, "metrics-judge") as ground:
        store = PostgresJudgements(ground.pool, ground.clock)
        keep = KeepDefinition(store)
        await read_definitions(_reader(ground, keep, "metrics-judge"), stop)
        worker = FaustWorker(
            FaustSettings(
                app_id=settings.metrics_judge_group,
                bootstrap_servers=settings.kafka_bootstrap_servers,
                session_timeout_ms=settings.metrics_session_timeout_ms,
            ),
            clock=ground.clock,
            health=ground.health,
        )
        equip(
            worker,
            keep=decoded(keep, _dead_letters(ground, "metrics-judge"), ground.clock),
            tick=JudgeDue(store, ground.clock, min_interval_ms=settings.metrics_result_interval_ms),
            interval_ms=settings.metrics_judge_interval_ms,
        )
        relay = OutboxRelay(ground.pool, ground.producer, clock=ground.clock, health=ground.health)
        await supervise(stop, worker=worker.run(stop), relay=relay.run(stop))


@asynccontextmanager
async def _ground(settings: MetricsSettings, process: str) -> AsyncIterator[Ground]:
    """Connect to everything within the start-up deadline; let go of it at the end."""
    clock = SystemClock()
    health = Health(clock)
    health.require("start", "connecting to Kafka and PostgreSQL")
    ops = OpsServer(settings.host, settings.telemetry_port, health)
    ops.start()
    try:
        bus = KafkaBus(settings.kafka_bootstrap_servers, client_id=process, clock=clock)
        await _patiently(settings, clock, "Kafka", lambda: bus.admin().ensure_topics(TOPICS))
        url = settings.database_url.get_secret_value()
        pool = await connect(url, schema=SCHEMA, deadline_ms=settings.startup_deadline_ms, clock=clock)
        producer = bus.producer()
        try:
            await _patiently(settings, clock, "PostgreSQL", lambda: migrate(pool, SCHEMA, MIGRATIONS))
            await _patiently(settings, clock, "Kafka", producer.start)
            health.ok("start")
            yield Ground(bus, producer, pool, clock, health)
        finally:
            await producer.stop()
            await pool.close()
    finally:
        ops.stop()


async def _patiently(
    settings: MetricsSettings, clock: Clock, what: str, call: Callable[[], Awaitable[object]]
) -> None:
    await retry(call, clock=clock, deadline_ms=settings.startup_deadline_ms, what=what)


def _reader(ground: Ground, handler: Handler, source: str) -> Follower:
    return Follower(
        ground.bus,
        group=None,
        handlers={"experiments": handler},
        dead_letters=_dead_letters(ground, source),
        clock=ground.clock,
        health=ground.health,
    )


def _dead_letters(ground: Ground, source: str) -> DeadLetters:
    return DeadLetters(ground.producer, source=source, clock=ground.clock)
