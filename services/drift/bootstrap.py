"""Wires drift's two processes."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.kafka import KafkaBus
from libs.common.clock import Clock, SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.outbox import OutboxRelay
from libs.common.db.pool import Pool, connect
from libs.common.lifecycle import Stop, supervise
from libs.common.partitions.bodies.places import open_bodies
from libs.common.partitions.line import Line, LineSettings
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.common.partitions.reset import Wish
from libs.common.partitions.reset_command import Holding, Reach, run_reset
from libs.common.retry import retry
from libs.common.telemetry.health import Health
from libs.common.telemetry.ops import OpsServer
from libs.common.telemetry.setup import configure
from services.drift.adapters.examples import ExampleDataset
from services.drift.adapters.postgres import PostgresLedger
from services.drift.adapters.rows import RowWriter
from services.drift.config import Config, IngestConfig, JudgeConfig
from services.drift.domain.partition import DriftPartition
from services.drift.entrypoints.inlet import ModelsInlet
from services.drift.handlers.judge import Judge
from services.drift.handlers.learn_model import LearnModel

SCHEMA = "drift"
MIGRATIONS = Path(__file__).parent / "migrations"
FACTS = ("predictions", "feedback")
JUDGE_GROUP = "drift-judge"
HELD = Holding(SCHEMA, MIGRATIONS, FACTS, ("windows", "totals", "progress"))

Main = Callable[[Stop], Awaitable[None]]


def ingest(config: IngestConfig) -> Main:
    """Return the main of the ingest process."""
    configure("drift-ingest", config)
    return partial(_ingest, config)


def judge(config: JudgeConfig) -> Main:
    """Return the main of the judge process."""
    configure("drift-judge", config)
    return partial(_judge, config)


async def reset(config: IngestConfig, wish: Wish) -> list[int]:
    """Forget what partitions hold, and return which; see `libs/common/partitions/reset.py`. Files of
    examples stay: those that are written again are the same examples."""
    clock = SystemClock()
    bus = KafkaBus(config.kafka_bootstrap_servers, client_id="drift-reset", clock=clock)
    url = config.database_url.get_secret_value()
    reach = Reach(bus, url, config.snapshot_url, clock, config.startup_deadline_ms)
    return await run_reset(HELD, reach, wish)


async def _ingest(config: IngestConfig, stop: Stop) -> None:
    clock = SystemClock()
    health = Health(clock)
    health.require("start")
    async with AsyncExitStack() as stack:
        _serve_ops(stack, config, health)
        bus = KafkaBus(
            config.kafka_bootstrap_servers, client_id="drift-ingest", clock=clock, member=config.worker_name
        )
        pool = await _prepare(stack, config, bus, (*FACTS, "dead-letters"), clock)
        producer = bus.producer()
        await producer.start()
        stack.push_async_callback(producer.stop)
        limits = config.limits()
        bodies = await open_bodies(config.snapshot_url, clock=clock, deadline_ms=config.startup_deadline_ms)
        line = Line(
            bus,
            group=config.drift_group,
            topics=FACTS,
            factory=lambda partition, dump: DriftPartition(limits, dump),
            store=PostgresPartitionStore(pool, RowWriter(ExampleDataset(config.examples_dir)), bodies),
            dead_letters=DeadLetters(producer, source="drift", clock=clock),
            clock=clock,
            health=health,
            settings=LineSettings(
                publish_interval_ms=config.drift_publish_interval_ms,
                snapshot_interval_ms=config.drift_snapshot_interval_ms,
            ),
        )
        health.ok("start")
        await supervise(stop, line=line.run(stop))


async def _judge(config: JudgeConfig, stop: Stop) -> None:
    # Faust and river take seconds to import, which ingest need not pay.
    from libs.common.entrypoints.worker import FaustSettings, FaustWorker
    from services.drift.adapters.river import AdwinDetector

    clock = SystemClock()
    health = Health(clock)
    health.require("start")
    async with AsyncExitStack() as stack:
        _serve_ops(stack, config, health)
        bus = KafkaBus(config.kafka_bootstrap_servers, client_id="drift-judge", clock=clock)
        told = ("models", "model-health", "alerts", "degradations", "dead-letters")
        pool = await _prepare(stack, config, bus, told, clock)
        producer = bus.producer()
        await producer.start()
        stack.push_async_callback(producer.stop)
        ledger = PostgresLedger(pool)
        worker = FaustWorker(
            FaustSettings(app_id=JUDGE_GROUP, bootstrap_servers=config.kafka_bootstrap_servers),
            clock=clock,
            health=health,
        )
        dead_letters = DeadLetters(producer, source="drift", clock=clock)
        worker.listen("models", ModelsInlet(LearnModel(ledger), dead_letters, clock))
        worker.every(config.drift_tick_ms, Judge(ledger, AdwinDetector(), config.policy(), clock))
        relay = OutboxRelay(pool, producer, clock=clock, health=health)
        health.ok("start")
        await supervise(stop, worker=worker.run(stop), relay=relay.run(stop))


def _serve_ops(stack: AsyncExitStack, config: Config, health: Health) -> None:
    ops = OpsServer(config.host, config.telemetry_port, health)
    ops.start()
    stack.callback(ops.stop)


async def _prepare(
    stack: AsyncExitStack, config: Config, bus: KafkaBus, topics: tuple[str, ...], clock: Clock
) -> Pool:
    """Wait for Kafka and PostgreSQL, make what is missing in them, and return the pool."""
    await retry(
        lambda: bus.admin().ensure_topics(topics),
        clock=clock,
        deadline_ms=config.startup_deadline_ms,
        what="creating topics",
    )
    pool = await connect(
        config.database_url.get_secret_value(),
        schema=SCHEMA,
        deadline_ms=config.startup_deadline_ms,
        clock=clock,
    )
    stack.push_async_callback(pool.close)
    await migrate(pool, SCHEMA, MIGRATIONS)
    return pool
