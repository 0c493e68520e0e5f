"""The HTTP API, put together: events in, views out, requests on."""

from dataclasses import dataclass

from fastapi import FastAPI

from libs.common.clock import Clock
from libs.common.http.app import make_app
from services.gateway.config import GatewaySettings
from services.gateway.domain.live import Live
from services.gateway.domain.views import Views
from services.gateway.entrypoints import commands, events, reads, stream
from services.gateway.handlers.request_retraining import RegisterVersion, RequestRetraining
from services.gateway.handlers.take_events import TakeEvents
from services.gateway.ports import Assignment


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything the routes need."""

    take_events: TakeEvents
    request_retraining: RequestRetraining
    register_version: RegisterVersion
    assignment: Assignment
    views: Views
    live: Live
    clock: Clock


def build(gateway: Gateway, settings: GatewaySettings) -> FastAPI:
    """Return the application."""
    app = make_app("Trimtab gateway", max_body_bytes=settings.gateway_max_body_bytes)
    app.include_router(events.routes(gateway.take_events))
    app.include_router(reads.routes(gateway.views))
    forward = commands.forwarding(gateway.assignment, settings.assignment_max_body_bytes)
    app.include_router(commands.routes(forward, gateway.request_retraining, gateway.register_version))
    app.include_router(stream.routes(gateway.live))
    return app
