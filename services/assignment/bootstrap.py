"""Puts the assignment service together."""

import gc
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
from libs.common.http.rates import RateLimit
from libs.common.http.server import serve
from libs.common.lifecycle import Stop, supervise
from libs.common.retry import retry
from libs.common.telemetry.health import Health
from libs.common.telemetry.ops import OpsServer
from services.assignment.adapters.exposures import BusExposures
from services.assignment.adapters.messages import SOURCE
from services.assignment.adapters.postgres import PostgresStore
from services.assignment.adapters.sticky import CachedSticky, PostgresSticky
from services.assignment.config import AssignmentSettings
from services.assignment.entrypoints.follow import ModelDoor, VerdictDoor
from services.assignment.entrypoints.forgetting import forget_units
from services.assignment.entrypoints.freshness import keep_rules
from services.assignment.entrypoints.growthbook_feed import Feed
from services.assignment.entrypoints.growthbook_routes import Growthbook
from services.assignment.entrypoints.http import Api, build
from services.assignment.entrypoints.upkeep import keep_trials
from services.assignment.handlers.accept_tracking import AcceptTracking
from services.assignment.handlers.read_growthbook import GrowthbookReader
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.ports import Desk, Exposures

SCHEMA = "assignment"
POOL_SIZE = 10
TOPICS = ("experiments", "rollbacks", "exposures", "verdicts", "models", "dead-letters")
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Process:
    """What every part of this process shares."""

    settings: AssignmentSettings
    clock: Clock
    health: Health


async def run_http(settings: AssignmentSettings, stop: Stop) -> None:
    """Serve until `stop`. Raises Retryable when Kafka or PostgreSQL does not answer in time."""
    clock = SystemClock()
    process = Process(settings, clock, Health(clock))
    process.health.require("postgres")
    process.health.require("kafka")
    process.health.require("http")
    ops = OpsServer(settings.host, settings.telemetry_port, process.health)
    ops.start()
    try:
        pool = await _database(process)
        try:
            bus = KafkaBus(settings.kafka_bootstrap_servers, client_id=SOURCE, clock=clock)
            await _serve(process, bus, pool, stop)
        finally:
            await pool.close()
    finally:
        ops.stop()


async def _database(process: Process) -> Pool:
    settings = process.settings
    url = settings.database_url.get_secret_value()
    deadline_ms = settings.startup_deadline_ms
    pool = await connect(url, schema=SCHEMA, deadline_ms=deadline_ms, clock=process.clock, max_size=POOL_SIZE)
    await migrate(pool, SCHEMA, MIGRATIONS)
    process.health.ok("postgres")
    return pool


async def _producer(process: Process, bus: Bus) -> Producer:
    clock, deadline_ms = process.clock, process.settings.startup_deadline_ms
    await retry(lambda: bus.admin().ensure_topics(TOPICS), clock=clock, deadline_ms=deadline_ms, what="Kafka")
    producer = bus.producer()
    await retry(producer.start, clock=clock, deadline_ms=deadline_ms, what="Kafka")
    process.health.ok("kafka")
    return producer


async def _serve(process: Process, bus: Bus, pool: Pool, stop: Stop) -> None:
    settings, clock = process.settings, process.clock
    producer = await _producer(process, bus)
    desk = Desk(PostgresStore(pool, clock), clock)
    exposures = BusExposures(producer, deadline_ms=settings.assignment_exposure_deadline_ms)
    rules = RulesReader(desk.store)
    growthbook = _growthbook(settings, desk, rules, exposures)
    sticky = CachedSticky(PostgresSticky(pool), max_units=settings.assignment_sticky_cache_units)
    limit = RateLimit(rate_per_s=settings.assignment_rate_per_s, burst=settings.assignment_burst, clock=clock)
    traced = bool(settings.otel_exporter_otlp_endpoint)
    api = Api(desk, rules, exposures, growthbook, sticky, limit, traced)
    app = build(api, max_body_bytes=settings.assignment_max_body_bytes)
    verdicts, models = followers(bus, desk, producer, process.health)
    try:
        await supervise(
            stop,
            http=serve(
                app,
                settings.host,
                settings.assignment_port,
                stop,
                on_listening=lambda _: _listening(process),
            ),
            verdicts=verdicts.run(stop),
            models=models.run(stop),
            trials=keep_trials(desk, stop),
            rules=keep_rules(rules, stop, clock=clock, interval_ms=settings.assignment_rules_interval_ms),
            sticky=forget_units(sticky, stop),
            growthbook=growthbook.feed.run(stop),
            outbox=OutboxRelay(pool, producer, clock=clock, health=process.health).run(stop),
        )
    finally:
        await producer.stop()


def _listening(process: Process) -> None:
    """Count as listening, and let the garbage collector leave alone what was made until now: to walk it all
    now and then would be felt by whoever asks meanwhile."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    process.health.ok("http")


def _growthbook(
    settings: AssignmentSettings, desk: Desk, rules: RulesReader, exposures: Exposures
) -> Growthbook:
    reader = GrowthbookReader(rules, desk.clock)
    keys = (each.strip() for each in settings.assignment_client_keys.split(","))
    return Growthbook(
        reader,
        Feed(reader, max_listeners=settings.assignment_max_streams),
        AcceptTracking(desk, rules, exposures),
        frozenset(key for key in keys if key),
    )


def followers(bus: Bus, desk: Desk, producer: Producer, health: Health) -> tuple[Follower, Follower]:
    """Return those who follow `verdicts` and `models`.

    `models` is read without a group, from the beginning at every start, so that a trial that was due when the
    process died is opened then. To handle a state again changes nothing.
    """

    def follow(group: str | None, topic: str, door: Handler) -> Follower:
        return Follower(
            bus,
            group=group,
            handlers={topic: door},
            # One a line: poison in one topic does not count against the other.
            dead_letters=DeadLetters(producer, source=SOURCE, clock=desk.clock),
            clock=desk.clock,
            health=health,
        )

    return follow(SCHEMA, "verdicts", VerdictDoor(desk)), follow(None, "models", ModelDoor(desk))
