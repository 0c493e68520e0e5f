"""The HTTP API, put together."""

from dataclasses import dataclass

from fastapi import FastAPI

from libs.common.http.app import make_app
from services.assignment.entrypoints import assignment_routes, experiment_routes, model_routes
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.ports import Desk, Exposures


@dataclass(frozen=True, slots=True)
class Api:
    """Everything that the routes need."""

    desk: Desk
    rules: RulesReader
    exposures: Exposures


def build(api: Api, *, max_body_bytes: int) -> FastAPI:
    """Return the application."""
    app = make_app("Trimtab assignment", max_body_bytes=max_body_bytes)
    app.include_router(experiment_routes.routes(api.desk))
    app.include_router(model_routes.routes(api.desk))
    app.include_router(assignment_routes.routes(api.desk, api.rules, api.exposures))
    return app
