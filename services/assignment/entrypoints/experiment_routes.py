"""Experiments over HTTP: create, look at, and every step of their life."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, JsonValue

from schemas.audience import ForcedUnits
from schemas.experiments import MAX_VARIANTS, Experiment, ExperimentDefinition, ExperimentState
from schemas.names import Key, Probability, ShortText, Text
from services.assignment.domain.change import CoverageTarget, Order, Past
from services.assignment.domain.coverage import ExposedUnits, lost_share
from services.assignment.entrypoints.bodies import NO_NUL, body_of
from services.assignment.handlers.advance import advance
from services.assignment.handlers.change_coverage import change_coverage
from services.assignment.handlers.create import create
from services.assignment.handlers.force_units import force_units
from services.assignment.handlers.pause import pause
from services.assignment.handlers.promote import promote
from services.assignment.handlers.reading import experiment_of
from services.assignment.handlers.reallocate import reallocate
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


ENTRY = {
    "revision", "state", "stage", "coverage", "remembers_since", "verified_at_ms", "promoted_variant",
    "changed_by", "reason", "updated_at_ms",
}  # fmt: skip
"""What an entry of the history shows: what may change. The rest of a definition never does."""


class Instruction(BaseModel):
    """The body of every step: why, and who says so."""

    reason: Annotated[Text, Field(min_length=1, pattern=NO_NUL)]
    by: Annotated[ShortText, Field(min_length=1, pattern=NO_NUL)]
    variant: Key | None = None
    """Of a promotion, where there are several to choose from."""


class CoverageInstruction(Instruction):
    """How much is to take part: `stage` where a ramp sets it, else `coverage`, the share of all units."""

    stage: Annotated[int, Field(ge=0)] | None = None
    coverage: Probability | None = None
    exposed_units: ExposedUnits | None = None
    """Needed where it becomes less: whether exposed units get control or keep their variant."""


class WeightsInstruction(Instruction):
    """The new weight of every variant."""

    weights: Annotated[dict[Key, Annotated[float, Field(gt=0, le=1_000_000)]], Field(max_length=MAX_VARIANTS)]


class ForcedInstruction(Instruction):
    """The units that get a variant by name; they replace those before."""

    forced: ForcedUnits


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
    _shifting(router, desk)
    return router


def _creating(router: APIRouter, desk: Desk) -> None:
    @router.post("", status_code=201)
    async def post_experiment(
        definition: Annotated[ExperimentDefinition, Depends(body_of(ExperimentDefinition))],
        start: bool = False,
        by: Annotated[ShortText, Query(min_length=1, pattern=NO_NUL)] = "http",
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
        past = await desk.store.history(experiment_id, limit=limit + 1)
        entries = [_entry(None, past[0]), *(_entry(*each) for each in pairwise(past))]
        return {"experiment_id": experiment_id, "history": entries[-limit:]}


def _step(router: APIRouter, desk: Desk, path: str, step: Step) -> None:
    @router.post(f"/{{experiment_id}}/{path}", name=path)
    async def post_step(experiment_id: Key, instruction: Instruction) -> Experiment:
        return await step(
            desk, Order(experiment_id, instruction.by, instruction.reason, variant=instruction.variant)
        )


def _shifting(router: APIRouter, desk: Desk) -> None:
    @router.post("/{experiment_id}/coverage")
    async def post_coverage(experiment_id: Key, asked: CoverageInstruction) -> Experiment:
        target = CoverageTarget(asked.stage, asked.coverage, asked.exposed_units)
        return await change_coverage(desk, Order(experiment_id, asked.by, asked.reason, target=target))

    @router.post("/{experiment_id}/weights")
    async def post_weights(experiment_id: Key, asked: WeightsInstruction) -> Experiment:
        return await reallocate(desk, Order(experiment_id, asked.by, asked.reason, weights=asked.weights))

    @router.post("/{experiment_id}/forced")
    async def post_forced(experiment_id: Key, asked: ForcedInstruction) -> Experiment:
        return await force_units(desk, Order(experiment_id, asked.by, asked.reason, forced=asked.forced))


def _entry(before: Past | None, past: Past) -> dict[str, JsonValue]:
    """Return what an experiment's revision changed, and how many of all units (0 to 1) lost their variant."""
    entry = past.experiment.model_dump(mode="json", include=ENTRY)
    entry["weights"] = {each.key: each.weight for each in past.experiment.variants}
    lost = 0.0 if before is None else lost_share(before.experiment, past.experiment)
    return entry | {"verdict_id": past.verdict_id, "lost_share": lost}
