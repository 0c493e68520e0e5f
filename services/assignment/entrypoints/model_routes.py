"""Models over HTTP: who serves, who waits for a trial and why, and the trial template."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from libs.common.errors import NotFound
from schemas.names import Key, ShortText, Text
from services.assignment.domain.model_record import ModelRecord, TrialTemplate
from services.assignment.domain.quarantine import QuarantineEntry
from services.assignment.entrypoints.bodies import NO_NUL, body_of
from services.assignment.handlers.lift_quarantine import lift_quarantine
from services.assignment.handlers.open_trial import why_waiting
from services.assignment.handlers.put_trial_template import put_trial_template
from services.assignment.ports import Desk

Limit = Annotated[int, Query(ge=1, le=1_000)]


class ModelView(BaseModel):
    """One model as assignment sees it."""

    model: str
    champion: str | None
    """The version that serves now."""
    confirmed: bool
    """False: promoted here, and `models` has not said so yet."""
    challenger: str | None
    experiment_id: str | None
    """The live trial."""
    waiting: str
    """Why the challenger gets no trial now; "" when nothing stands in its way."""
    quarantined: tuple[str, ...]
    lifted: tuple[str, ...]
    """Taken out of quarantine by a person, though `models` may still name them."""
    has_trial_template: bool


class LiftInstruction(BaseModel):
    """Which version may serve again, who says so, and why."""

    version: Key
    by: Annotated[ShortText, Field(min_length=1, pattern=NO_NUL)]
    reason: Annotated[Text, Field(min_length=1, pattern=NO_NUL)]


class QuarantineLog(BaseModel):
    """Which versions were put in quarantine or taken out, oldest first."""

    model: str
    log: list[QuarantineEntry]


def routes(desk: Desk) -> APIRouter:
    """Return the routes under /v1/models."""
    router = APIRouter(prefix="/v1/models")

    @router.get("/{model}")
    async def get_model(model: Key) -> ModelView:
        return await _view(desk, await _known(desk, model))

    @router.get("/{model}/trial-template")
    async def get_trial_template(model: Key) -> TrialTemplate:
        template = (await _known(desk, model)).template
        if template is None:
            raise NotFound(f"{model} has no trial template", field="model", next_step="PUT one here")
        return template

    @router.put("/{model}/trial-template")
    async def put_template(
        model: Key, template: Annotated[TrialTemplate, Depends(body_of(TrialTemplate))]
    ) -> ModelView:
        await put_trial_template(desk, model, template)
        return await _view(desk, await _known(desk, model))

    _quarantine(router, desk)
    return router


def _quarantine(router: APIRouter, desk: Desk) -> None:
    @router.get("/{model}/quarantine")
    async def get_quarantine(model: Key, limit: Limit = 100) -> QuarantineLog:
        log = await desk.store.quarantine_log((await _known(desk, model)).model, limit=limit)
        return QuarantineLog(model=model, log=list(log))

    @router.post("/{model}/quarantine/lift")
    async def post_lift(model: Key, asked: LiftInstruction) -> ModelView:
        await _known(desk, model)
        await lift_quarantine(desk, model, asked.version, by=asked.by, reason=asked.reason)
        return await _view(desk, await _known(desk, model))


async def _known(desk: Desk, model: str) -> ModelRecord:
    record = await desk.store.find_model(model)
    if record is None:
        raise NotFound(
            f"nothing is known of a model {model}",
            field="model",
            next_step="register a champion through the gateway, or PUT its trial template",
        )
    return record


async def _view(desk: Desk, record: ModelRecord) -> ModelView:
    live = await desk.store.live_trial(record.model)
    return ModelView(
        model=record.model,
        champion=record.serving,
        confirmed=record.confirmed,
        challenger=record.challenger,
        experiment_id=live.experiment_id if live else None,
        waiting=await why_waiting(desk, record.model),
        quarantined=record.quarantined,
        lifted=record.lifted,
        has_trial_template=record.template is not None,
    )
