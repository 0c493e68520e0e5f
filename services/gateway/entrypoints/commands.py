"""What changes something: passed on to assignment, or asked of the retrainer over the bus."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from libs.common.http.gate import TooLarge
from schemas.names import Key, ShortText, Text
from schemas.versions import ReferenceProfile, VersionRole
from services.gateway.entrypoints import described
from services.gateway.handlers.request_retraining import (
    RegisterVersion,
    RegistrationRequest,
    RequestRetraining,
)
from services.gateway.ports import Assignment

Verb = Annotated[
    str, Path(pattern="^(start|pause|resume|stop|promote|rollback|advance|coverage|weights|forced)$")
]

Forward = Callable[[Request], Awaitable[Response]]


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
    forward: Forward, request_retraining: RequestRetraining, register_version: RegisterVersion
) -> APIRouter:
    """Return the routes that change something."""
    router = APIRouter(prefix="/v1")
    _experiment_routes(router, forward)
    _model_routes(router, forward)

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


def forwarding(assignment: Assignment, max_body_bytes: int) -> Forward:
    """Return what passes a request on to assignment and its answer back, as they are. What assignment would
    not take is refused here: it hangs up while such a body is sent, and its 413 may never be read."""

    async def forward(request: Request) -> Response:
        body = await request.body()
        if len(body) > max_body_bytes:
            raise TooLarge(max_body_bytes)
        answer = await assignment.forward(
            request.method, request.url.path, query=dict(request.query_params), body=body or None
        )
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))

    return forward


def _experiment_routes(router: APIRouter, forward: Forward) -> None:
    starting = described.body(described.EXPERIMENT) | described.query(start="boolean", by="string")

    @router.post("/experiments", tags=["experiments"], summary="Create", openapi_extra=starting)
    async def create(request: Request) -> Response:
        """The definition as JSON (`schemas/json/experiment.json`); `?start=true` starts it at once, and `by`
        says who asks. Assignment decides."""
        return await forward(request)

    steps = described.bodies(described.STEPS)

    @router.post(
        "/experiments/{experiment_id}/{verb}", tags=["experiments"], summary="Act on one", openapi_extra=steps
    )
    async def act(experiment_id: Key, verb: Verb, request: Request) -> Response:
        """`{"by", "reason"}` as JSON, and of `coverage` the `stage` or the share (with `exposed_units` where
        it becomes less), of `weights` and `forced` the new ones, of `promote` the `variant` where there are
        several. Assignment decides whether it is legal."""
        return await forward(request)

    latest = described.query(limit="integer")

    @router.get(
        "/experiments/{experiment_id}/history",
        tags=["experiments"],
        summary="Its history",
        openapi_extra=latest,
    )
    async def history(experiment_id: Key, request: Request) -> Response:
        """Who did what, when and why."""
        return await forward(request)


def _model_routes(router: APIRouter, forward: Forward) -> None:
    lifting, template = described.body(described.LIFT), described.body(described.TEMPLATE)
    quarantine, trial = "/models/{model}/quarantine", "/models/{model}/trial-template"
    latest = described.query(limit="integer")

    @router.get(quarantine, tags=["models"], summary="Its log of quarantines", openapi_extra=latest)
    async def quarantines(model: Key, request: Request) -> Response:
        """Which versions were put in quarantine or taken out, by whom, when and why."""
        return await forward(request)

    @router.post(f"{quarantine}/lift", tags=["models"], summary="Lift a quarantine", openapi_extra=lifting)
    async def lift(model: Key, request: Request) -> Response:
        """`{"version", "by", "reason"}` as JSON: the version may be tried again."""
        return await forward(request)

    @router.get(trial, tags=["models"], summary="How challengers are tried")
    async def trial_template(model: Key, request: Request) -> Response:
        """404 while there is none."""
        return await forward(request)

    @router.put(trial, tags=["models"], summary="Say how challengers are tried", openapi_extra=template)
    async def put_trial_template(model: Key, request: Request) -> Response:
        """The metrics, the policy and the hash of every trial of this model."""
        return await forward(request)
