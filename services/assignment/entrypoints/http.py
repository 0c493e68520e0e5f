"""The HTTP API, put together."""

from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp

from libs.common.clock import SystemClock
from libs.common.http.app import make_app
from libs.common.http.door import Doors, watched
from libs.common.http.rates import RateLimit
from services.assignment.entrypoints import (
    assignment_routes,
    experiment_routes,
    growthbook_routes,
    model_routes,
)
from services.assignment.entrypoints.freshness import ReadYourWrites
from services.assignment.entrypoints.ofrep_routes import PREFIX, Ofrep
from services.assignment.handlers.evaluate import Means, NoStickyUnits
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.ports import Desk, Exposures, StickyUnits

NO_MEMORY: Final = NoStickyUnits()
NO_LIMIT: Final = RateLimit(rate_per_s=0.0, burst=1.0, clock=SystemClock())


@dataclass(frozen=True, slots=True)
class Api:
    """Everything that the routes need."""

    desk: Desk
    rules: RulesReader
    exposures: Exposures
    growthbook: growthbook_routes.Growthbook | None = None
    """None: GrowthBook's SDKs are not served."""
    sticky: StickyUnits = NO_MEMORY
    limit: RateLimit = NO_LIMIT
    traced: bool = False
    """Evaluations make spans: worth it only where these are exported."""


def build(api: Api, *, max_body_bytes: int) -> ASGIApp:
    """Return the application."""
    means = Means(api.desk.clock, api.exposures, api.sticky)
    ofrep = Ofrep(means, api.rules, api.limit, max_body_bytes)
    app = make_app("Trimtab assignment", max_body_bytes=max_body_bytes)
    app.include_router(experiment_routes.routes(api.desk))
    app.include_router(model_routes.routes(api.desk))
    app.include_router(assignment_routes.routes(means, api.rules, api.limit))
    if api.growthbook is not None:
        app.include_router(growthbook_routes.routes(api.growthbook))
    door = watched(ofrep, clock=SystemClock(), traced=api.traced)
    return Doors(ReadYourWrites(app, api.rules), {PREFIX: door})
