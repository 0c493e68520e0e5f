"""What both processes stand on: the bus, the database, and the names of what is theirs."""

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
from libs.common.db.pool import Pool, connect
from libs.common.retry import retry
from libs.common.telemetry.health import Health
from libs.common.telemetry.ops import OpsServer
from services.metrics.config import MetricsSettings

SCHEMA = "metrics"
UNIT_TOPICS = ("exposures", "conversions")
TOPICS = (*UNIT_TOPICS, "experiments", "results", "verdicts", "alerts", "dead-letters")
MIGRATIONS = Path(__file__).parents[1] / "migrations"


@dataclass(frozen=True, slots=True)
class Ground:
    """What both processes stand on."""

    bus: Bus
    producer: Producer
    pool: Pool
    clock: Clock
    health: Health


@asynccontextmanager
async def grounded(settings: MetricsSettings, process: str) -> AsyncIterator[Ground]:
    """Connect to everything within the start-up deadline; let go of it at the end."""
    clock = SystemClock()
    health = Health(clock)
    health.require("start", "connecting to Kafka and PostgreSQL")
    ops = OpsServer(settings.host, settings.telemetry_port, health)
    ops.start()
    try:
        bus = KafkaBus(
            settings.kafka_bootstrap_servers, client_id=process, clock=clock, member=settings.worker_name
        )
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


def reader(ground: Ground, handler: Handler, source: str) -> Follower:
    """Return who reads all definitions and hands them to `handler`."""
    return Follower(
        ground.bus,
        group=None,
        handlers={"experiments": handler},
        dead_letters=dead_letters(ground, source),
        clock=ground.clock,
        health=ground.health,
    )


def dead_letters(ground: Ground, source: str) -> DeadLetters:
    """Return where a line of this name buries its poison."""
    return DeadLetters(ground.producer, source=source, clock=ground.clock)
