"""Puts the gateway together."""

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.follow import Follower
from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Bus
from libs.common.clock import Clock, SystemClock
from libs.common.http.server import serve
from libs.common.lifecycle import Stop, supervise
from libs.common.retry import retry
from libs.common.telemetry.health import Health
from libs.common.telemetry.ops import OpsServer
from schemas.topics import UNIT_TOPICS
from services.gateway.adapters.assignment import HttpAssignment
from services.gateway.config import GatewaySettings
from services.gateway.domain.live import Live
from services.gateway.domain.views import Views
from services.gateway.entrypoints.http import Gateway, build
from services.gateway.handlers.request_retraining import RegisterVersion, RequestRetraining
from services.gateway.handlers.show import FOLLOWED, Show
from services.gateway.handlers.take_events import TakeEvents

TOPICS = (*UNIT_TOPICS, *FOLLOWED, "dead-letters")


async def run_http(settings: GatewaySettings, stop: Stop) -> None:
    """Serve until `stop`. Raises Retryable when Kafka does not answer within the start-up deadline."""
    clock = SystemClock()
    health = Health(clock)
    health.require("kafka")
    health.require("http")
    ops = OpsServer(settings.host, settings.telemetry_port, health)
    ops.start()
    try:
        bus = KafkaBus(settings.kafka_bootstrap_servers, client_id="gateway", clock=clock)
        await serve_gateway(bus, settings, stop, clock=clock, health=health)
    finally:
        ops.stop()


async def serve_gateway(
    bus: Bus, settings: GatewaySettings, stop: Stop, *, clock: Clock, health: Health
) -> None:
    """Serve on any bus until `stop`: the same wiring for Kafka and for tests."""
    deadline_ms = settings.startup_deadline_ms
    await retry(lambda: bus.admin().ensure_topics(TOPICS), clock=clock, deadline_ms=deadline_ms, what="Kafka")
    producer = bus.producer()
    await retry(producer.start, clock=clock, deadline_ms=deadline_ms, what="Kafka")
    health.ok("kafka")
    assignment = HttpAssignment(settings.assignment_url, timeout_ms=settings.gateway_assignment_timeout_ms)
    views = Views()
    live = Live(
        max_subscribers=settings.gateway_max_subscribers, queue_limit=settings.gateway_subscriber_queue
    )
    show = Show(views, live)
    follower = Follower(
        bus,
        group=None,
        handlers=dict.fromkeys(FOLLOWED, show),
        dead_letters=DeadLetters(producer, source="gateway", clock=clock),
        clock=clock,
        health=health,
    )
    gateway = Gateway(
        take_events=TakeEvents(producer, clock, settings.gateway_max_batch),
        request_retraining=RequestRetraining(producer, clock),
        register_version=RegisterVersion(producer, clock),
        assignment=assignment,
        views=views,
        live=live,
        clock=clock,
    )

    try:
        await supervise(
            stop,
            http=serve(
                build(gateway, settings),
                settings.host,
                settings.gateway_port,
                stop,
                on_listening=lambda port: health.ok("http"),
            ),
            follower=follower.run(stop),
        )
    finally:
        await assignment.close()
        await producer.stop()
