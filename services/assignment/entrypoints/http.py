"""The HTTP API, put together."""

from dataclasses import dataclass

from fastapi import FastAPI
from libs.common.http.app import make_app

from services.assignment.entrypoints import assignments, experiments, models
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
    app.include_router(experiments.routes(api.desk))
    app.include_router(models.routes(api.desk))
    app.include_router(assignments.routes(api.desk, api.rules, api.exposures))
    return app
