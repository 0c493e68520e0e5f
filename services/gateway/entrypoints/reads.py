"""What is known: experiments, results, models, alerts, retrainings."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import TypeAdapter

from libs.common.errors import NotFound
from schemas.health import AlertState
from schemas.names import Key
from services.gateway.domain.views import Views

Limit = Annotated[int, Query(ge=1, le=1_000)]
_JSON: TypeAdapter[Any] = TypeAdapter(Any)


def _json(value: object) -> Response:
    # The contracts serialise themselves; a second validation by the framework would only cost time.
    return Response(_JSON.dump_json(value), media_type="application/json")


def routes(views: Views) -> APIRouter:
    """Return the routes that read."""
    router = APIRouter(prefix="/v1")
    _experiment_routes(router, views)
    _model_routes(router, views)
    _alert_routes(router, views)
    return router


def _experiment_routes(router: APIRouter, views: Views) -> None:
    @router.get("/experiments", tags=["experiments"], summary="All experiments")
    async def experiments(limit: Limit = 100) -> Response:
        """Newest change first."""
        newest = sorted(views.experiments.values(), key=lambda each: -each.updated_at_ms)
        return _json({"experiments": newest[:limit]})

    @router.get("/experiments/{experiment_id}", tags=["experiments"], summary="One experiment")
    async def experiment(experiment_id: Key) -> Response:
        """The experiment with its latest result, its verdicts, its rollbacks, and its alerts that last: is a
        rollback in force (`verified_at_ms`), and does anyone still meet what was rolled back?"""
        if experiment_id not in views.experiments:
            raise NotFound(f"no experiment {experiment_id!r}", field="experiment_id")
        return _json(
            {
                "experiment": views.experiments[experiment_id],
                "result": views.results.get(experiment_id),
                "verdicts": views.verdicts(experiment_id),
                "rollbacks": views.rollbacks(experiment_id),
                "alerts": views.lasting_alerts(experiment_id),
            }
        )

    @router.get("/experiments/{experiment_id}/results", tags=["experiments"], summary="Latest result")
    async def result(experiment_id: Key) -> Response:
        """404 while nobody was exposed."""
        if experiment_id not in views.results:
            raise NotFound(f"no result of {experiment_id!r} yet", field="experiment_id")
        return _json(views.results[experiment_id])


def _model_routes(router: APIRouter, views: Views) -> None:
    @router.get("/models", tags=["models"], summary="All models")
    async def models() -> Response:
        """Champion and challenger of each; reference profiles are left out (see one model)."""
        profile = {"champion": {"reference"}, "challenger": {"reference"}}
        return _json({"models": [each.model_dump(exclude=profile) for each in views.models.values()]})

    @router.get("/models/{model}", tags=["models"], summary="One model")
    async def one(model: Key) -> Response:
        """Its state, the health of its versions, its retrainings."""
        health = views.health_of(model)
        if model not in views.models and not health:
            raise NotFound(f"no model {model!r}", field="model")
        return _json(
            {"model": views.models.get(model), "health": health, "retrainings": views.retrainings_of(model)}
        )

    @router.get("/models/{model}/health", tags=["models"], summary="Health of a model's versions")
    async def health(model: Key) -> Response:
        """404 while no prediction of it was seen."""
        known = views.health_of(model)
        if not known:
            raise NotFound(f"nothing is known of the health of {model!r} yet", field="model")
        return _json({"health": known})

    @router.get("/models/{model}/retraining", tags=["retraining"], summary="Retrainings of a model")
    async def retrainings(model: Key) -> Response:
        """The latest step of each, oldest first."""
        return _json({"retrainings": views.retrainings_of(model)})


def _alert_routes(router: APIRouter, views: Views) -> None:
    @router.get("/alerts", tags=["alerts"], summary="Alerts")
    async def alerts(
        state: AlertState | None = None, subject: Key | None = None, limit: Limit = 100
    ) -> Response:
        """Newest change first."""
        return _json({"alerts": list(views.find_alerts(state=state, subject=subject))[:limit]})
