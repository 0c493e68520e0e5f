"""Experiments over HTTP: create, look at, and every step of their life."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, JsonValue

from schemas.experiments import Experiment, ExperimentDefinition, ExperimentState
from schemas.names import Key, ShortText, Text
from services.assignment.domain.change import Order, Past
from services.assignment.entrypoints.bodies import body_of
from services.assignment.handlers.advance import advance
from services.assignment.handlers.create import create
from services.assignment.handlers.pause import pause
from services.assignment.handlers.promote import promote
from services.assignment.handlers.reading import experiment_of
from services.assignment.handlers.resume import resume
from services.assignment.handlers.roll_back import roll_back
from services.assignment.handlers.start import start
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk

Step = Callable[[Desk, Order], Awaitable[Experiment]]
Limit = Annotated[int, Query(ge=1, le=1_000)]

STEPS: dict[str, Step] = {
    "start": start,
    "pause": pause,
    "resume": resume,
    "stop": stop,
    "promote": promote,
    "rollback": roll_back,
    "advance": advance,
}


class Instruction(BaseModel):
    """The body of every step: why, and who says so."""

    reason: Annotated[Text, Field(min_length=1)]
    by: Annotated[ShortText, Field(min_length=1)]
    variant: Key | None = None
    """Of a promotion, where there are several to choose from."""


class Listing(BaseModel):
    """Experiments, the one changed last first."""

    experiments: list[Experiment]


def routes(desk: Desk) -> APIRouter:
    """Return the routes under /v1/experiments."""
    router = APIRouter(prefix="/v1/experiments")
    _reading(router, desk)
    _creating(router, desk)
    for path, step in STEPS.items():
        _step(router, desk, path, step)
    return router


def _creating(router: APIRouter, desk: Desk) -> None:
    @router.post("", status_code=201)
    async def post_experiment(
        definition: Annotated[ExperimentDefinition, Depends(body_of(ExperimentDefinition))],
        start: bool = False,
        by: Annotated[ShortText, Query(min_length=1)] = "http",
    ) -> Experiment:
        return await create(desk, definition, by=by, start=start)


def _reading(router: APIRouter, desk: Desk) -> None:
    @router.get("")
    async def get_experiments(state: ExperimentState | None = None, limit: Limit = 100) -> Listing:
        return Listing(experiments=list(await desk.store.experiments(state=state, limit=limit)))

    @router.get("/{experiment_id}")
    async def get_experiment(experiment_id: Key) -> Experiment:
        return await experiment_of(desk.store, experiment_id)

    @router.get("/{experiment_id}/history")
    async def get_history(experiment_id: Key, limit: Limit = 100) -> dict[str, Any]:
        await experiment_of(desk.store, experiment_id)
        past = await desk.store.history(experiment_id, limit=limit)
        return {"experiment_id": experiment_id, "history": [_entry(each) for each in past]}


def _step(router: APIRouter, desk: Desk, path: str, step: Step) -> None:
    @router.post(f"/{{experiment_id}}/{path}", name=path)
    async def post_step(experiment_id: Key, instruction: Instruction) -> Experiment:
        return await step(
            desk, Order(experiment_id, instruction.by, instruction.reason, variant=instruction.variant)
        )


def _entry(past: Past) -> dict[str, JsonValue]:
    """Return what an experiment's revision changed: not its whole definition, which never does."""
    fields = {"revision", "state", "stage", "coverage", "changed_by", "reason", "updated_at_ms"}
    return past.experiment.model_dump(mode="json", include=fields) | {"verdict_id": past.verdict_id}
