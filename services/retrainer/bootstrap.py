"""Puts the worker together."""

from dataclasses import dataclass
from pathlib import Path

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Bus
from libs.common.clock import Clock, SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.outbox import OutboxRelay
from libs.common.db.pool import Pool, connect
from libs.common.entrypoints.worker import FaustSettings, FaustWorker
from libs.common.lifecycle import Stop, supervise
from libs.common.retry import retry
from libs.common.telemetry.health import Health
from libs.common.telemetry.ops import OpsServer
from services.retrainer.adapters.examples import ParquetCounter
from services.retrainer.adapters.postgres import SCHEMA, PostgresStore
from services.retrainer.adapters.registry import HttpRegistry
from services.retrainer.adapters.workshop import ChildWorkshop, WorkshopSettings, own_folder
from services.retrainer.config import RetrainerSettings
from services.retrainer.domain.report import TrainingOrder
from services.retrainer.domain.rules import Rules
from services.retrainer.domain.validation import Thresholds
from services.retrainer.entrypoints.duties import Duties, keep_registry, keep_runs
from services.retrainer.entrypoints.worker import Hearing
from services.retrainer.handlers.advance_run import AdvanceRun, Pace, Recipe
from services.retrainer.handlers.answer_request import AnswerRequest
from services.retrainer.handlers.follow_trials import FollowTrials
from services.retrainer.handlers.register_version import RegisterVersion
from services.retrainer.handlers.set_aliases import SetAliases

MIGRATIONS = Path(__file__).parent / "migrations"
HEARD = ("degradations", "retraining", "experiments", "rollbacks")
TOPICS = (*HEARD, "models", "alerts", "dead-letters")
POOL_SIZE = 8
"""Relay, two duties, and transactions of the agents."""


async def run_worker(settings: RetrainerSettings, stop: Stop) -> None:
    """Work until `stop`. Raises Retryable when Kafka or PostgreSQL does not answer within the deadline,
    Misconfigured when the work folder is not ours alone."""
    own_folder(settings.retrainer_work_dir.absolute())
    clock = SystemClock()
    health = Health(clock)
    for need in ("kafka", "postgres"):
        health.require(need)
    ops = OpsServer(settings.host, settings.telemetry_port, health)
    ops.start()
    try:
        deadline_ms = settings.startup_deadline_ms
        pool = await connect(
            settings.database_url.get_secret_value(),
            schema=SCHEMA,
            deadline_ms=deadline_ms,
            clock=clock,
            max_size=POOL_SIZE,
        )
        try:
            await retry(
                lambda: migrate(pool, SCHEMA, MIGRATIONS),
                clock=clock,
                deadline_ms=deadline_ms,
                what="PostgreSQL",
            )
            health.ok("postgres")
            bus = KafkaBus(settings.kafka_bootstrap_servers, client_id="retrainer", clock=clock)
            await _work(settings, stop, Parts(clock, health, pool, bus))
        finally:
            await pool.close()
    finally:
        ops.stop()


@dataclass(frozen=True, slots=True)
class Parts:
    """What everything is made of."""

    clock: Clock
    health: Health
    pool: Pool
    bus: Bus


async def _work(settings: RetrainerSettings, stop: Stop, parts: Parts) -> None:
    clock, health = parts.clock, parts.health
    deadline_ms = settings.startup_deadline_ms
    admin, producer = parts.bus.admin(), parts.bus.producer()
    await retry(lambda: admin.ensure_topics(TOPICS), clock=clock, deadline_ms=deadline_ms, what="Kafka")
    await retry(producer.start, clock=clock, deadline_ms=deadline_ms, what="Kafka")
    health.ok("kafka")
    store = PostgresStore(parts.pool, clock)
    await retry(store.forget, clock=clock, deadline_ms=deadline_ms, what="PostgreSQL")
    registry = HttpRegistry(settings.mlflow_tracking_uri, timeout_ms=settings.retrainer_registry_timeout_ms)
    register = RegisterVersion(store, registry, clock)
    worker = FaustWorker(
        FaustSettings(app_id="retrainer", bootstrap_servers=settings.kafka_bootstrap_servers),
        clock=clock,
        health=health,
    )
    for topic in HEARD:
        hearing = Hearing(
            answer=AnswerRequest(store, clock, _rules(settings)),
            register=register,
            trials=FollowTrials(store, clock),
            dead_letters=DeadLetters(producer, source=SCHEMA, clock=clock),
            clock=clock,
        )
        worker.listen(topic, hearing)
    duties = Duties(store, clock, health, settings.retrainer_duty_interval_ms)
    relay = OutboxRelay(parts.pool, producer, clock=clock, health=health)
    counter = ParquetCounter(settings.examples_dir)
    advance = AdvanceRun(store, counter, _workshop(settings), clock, _recipe(settings))
    try:
        await supervise(
            stop,
            worker=worker.run(stop),
            outbox=relay.run(stop),
            runs=keep_runs(duties, advance, stop),
            registry=keep_registry(duties, register, SetAliases(store, registry, clock), stop),
        )
    finally:
        await registry.close()
        await producer.stop()


def _rules(settings: RetrainerSettings) -> Rules:
    return Rules(
        cooldown_ms=settings.retrainer_cooldown_ms,
        look_back_ms=settings.retrainer_look_back_ms,
        min_examples=settings.retrainer_min_examples,
        collect_deadline_ms=settings.retrainer_collect_deadline_ms,
        trainer=settings.retrainer_trainer,
        max_retries=settings.retrainer_max_retries,
    )


def _workshop(settings: RetrainerSettings) -> ChildWorkshop:
    return ChildWorkshop(
        WorkshopSettings(
            folder=settings.retrainer_work_dir.absolute(),
            train_deadline_ms=settings.retrainer_train_deadline_ms,
            register_deadline_ms=settings.retrainer_register_deadline_ms,
            niceness=settings.retrainer_niceness,
        )
    )


def _recipe(settings: RetrainerSettings) -> Recipe:
    order = TrainingOrder(
        retraining_id="",
        model="",
        cause="",
        reason="",
        examples_dir=settings.examples_dir.absolute(),
        from_ms=0,
        until_ms=0,
        max_examples=settings.retrainer_max_examples,
        trainer=settings.retrainer_trainer,
        seed=settings.retrainer_seed,
        held_out_share=settings.retrainer_held_out_share,
        mlflow_tracking_uri=settings.mlflow_tracking_uri,
        registry_timeout_ms=settings.retrainer_registry_timeout_ms,
    )
    thresholds = Thresholds(
        min_held_out=settings.retrainer_min_held_out,
        min_accuracy=settings.retrainer_min_accuracy,
        min_f1=settings.retrainer_min_f1,
        min_precision=settings.retrainer_min_precision,
        min_recall=settings.retrainer_min_recall,
        min_confidence=settings.retrainer_min_confidence,
        min_gain=settings.retrainer_min_gain,
    )
    pace = Pace(
        poll_ms=settings.retrainer_poll_ms,
        retry_ms=settings.retrainer_retry_ms,
        max_attempts=settings.retrainer_max_attempts,
    )
    return Recipe(order, _rules(settings), thresholds, pace)
