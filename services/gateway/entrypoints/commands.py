"""What changes something: passed on to assignment, or asked of the retrainer over the bus."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from schemas.names import Key, ShortText, Text
from schemas.versions import ReferenceProfile, VersionRole
from services.gateway.handlers.request_retraining import (
    RegisterVersion,
    RegistrationRequest,
    RequestRetraining,
)
from services.gateway.ports import Assignment

Verb = Annotated[
    str, Path(pattern="^(start|pause|resume|stop|promote|rollback|advance|coverage|weights|forced)$")
]


class RetrainingBody(BaseModel):
    """Who asks for a retraining, and why. `force` overrides the cooldown; `dry_run` only plans."""

    model_config = ConfigDict(extra="forbid")
    by: ShortText
    reason: Text
    force: bool = False
    dry_run: bool = False


class VersionBody(BaseModel):
    """Which registered version is to become champion or challenger."""

    model_config = ConfigDict(extra="forbid")
    version: Key
    role: Literal[VersionRole.CHAMPION, VersionRole.CHALLENGER]
    by: ShortText
    reason: Text
    reference: ReferenceProfile | None = None


def routes(
    assignment: Assignment, request_retraining: RequestRetraining, register_version: RegisterVersion
) -> APIRouter:
    """Return the routes that change something."""
    router = APIRouter(prefix="/v1")
    _forwarded(router, assignment)

    @router.post("/models/{model}/retraining", status_code=202, tags=["retraining"], summary="Retrain")
    async def retrain(model: Key, body: RetrainingBody) -> dict[str, str]:
        """Follow the answer under `GET /v1/models/{model}/retraining`."""
        return {
            "retraining_id": await request_retraining(
                model, by=body.by, reason=body.reason, force=body.force, dry_run=body.dry_run
            )
        }

    @router.post("/models/{model}/versions", status_code=202, tags=["models"], summary="Register")
    async def register(model: Key, body: VersionBody) -> dict[str, str]:
        """Put a version of the model registry under the loop's care, as champion or challenger."""
        request = RegistrationRequest(body.version, body.role, body.by, body.reason, body.reference)
        return {"registration_id": await register_version(model, request)}

    return router


def _forwarded(router: APIRouter, assignment: Assignment) -> None:
    async def forward(request: Request) -> Response:
        body = await request.body()
        answer = await assignment.forward(
            request.method, request.url.path, query=dict(request.query_params), body=body or None
        )
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))

    @router.post("/experiments", tags=["experiments"], summary="Create an experiment")
    async def create(request: Request) -> Response:
        """The definition as JSON; `?start=true` starts it at once. Assignment decides."""
        return await forward(request)

    @router.post("/experiments/{experiment_id}/{verb}", tags=["experiments"], summary="Act on one")
    async def act(experiment_id: Key, verb: Verb, request: Request) -> Response:
        """`{"by", "reason"}` as JSON. Assignment decides whether it is legal."""
        return await forward(request)

    @router.get("/experiments/{experiment_id}/history", tags=["experiments"], summary="Its history")
    async def history(experiment_id: Key, request: Request) -> Response:
        """Who did what, when and why."""
        return await forward(request)

    @router.get("/models/{model}/quarantine", tags=["models"], summary="Its log of quarantines")
    async def quarantine(model: Key, request: Request) -> Response:
        """Which versions were put in quarantine or taken out, by whom, when and why."""
        return await forward(request)

    @router.post("/models/{model}/quarantine/lift", tags=["models"], summary="Lift a quarantine")
    async def lift(model: Key, request: Request) -> Response:
        """`{"version", "by", "reason"}` as JSON: the version may be tried again."""
        return await forward(request)

    @router.put("/models/{model}/trial-template", tags=["models"], summary="How challengers are tried")
    async def template(model: Key, request: Request) -> Response:
        """The metrics and the policy of every trial of this model."""
        return await forward(request)
