"""What clients ask: the rule set, or one assignment."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field, JsonValue

from libs.common.http.rates import RateLimit
from schemas.names import Key, UnitId
from services.assignment.entrypoints.ofrep_routes import caller_of
from services.assignment.handlers.evaluate import Means, Question, assign
from services.assignment.handlers.read_rules import RulesReader

NOT_MODIFIED = 304
TOO_MANY = 429
MAX_ASKED_ATTRIBUTES = 1_000


class Ask(BaseModel):
    """The body of POST /v1/assignments/{key}: the unit, and what targeting and the exposure may need."""

    unit_id: UnitId
    attributes: Annotated[dict[str, JsonValue], Field(max_length=MAX_ASKED_ATTRIBUTES)] = Field(
        default_factory=dict
    )
    expose: bool = True
    """False: the caller tells the exposure, when the unit meets the variant; sticky units are remembered."""


def routes(means: Means, rules: RulesReader, limit: RateLimit) -> APIRouter:
    """Return the routes /v1/rules and /v1/assignments."""
    router = APIRouter(prefix="/v1")

    @router.get("/rules")
    async def get_rules(if_none_match: Annotated[str, Header()] = "") -> Response:
        current = await rules.current()
        headers = {"etag": current.etag, "cache-control": "no-cache"}
        if current.etag in (each.strip().removeprefix("W/") for each in if_none_match.split(",")):
            return Response(status_code=NOT_MODIFIED, headers=headers)
        return Response(current.body, media_type="application/json", headers=headers)

    _assignments(router, means, rules, limit)
    return router


def _assignments(router: APIRouter, means: Means, rules: RulesReader, limit: RateLimit) -> None:
    async def limited(request: Request) -> None:
        wait_s = limit.wait_s(caller_of(request.scope))
        if wait_s:
            headers = {"Retry-After": str(wait_s)}
            raise HTTPException(TOO_MANY, f"too many requests: ask again in {wait_s} s", headers)

    async def answer(question: Question) -> dict[str, Any]:
        latest = await rules.latest()
        return asdict(await assign(means, latest.rules, question))

    @router.get("/assignments/{key}", dependencies=[Depends(limited)])
    async def get_assignment(key: Key, unit_id: Annotated[UnitId, Query()]) -> dict[str, Any]:
        return await answer(Question(key, unit_id))

    @router.post("/assignments/{key}", dependencies=[Depends(limited)])
    async def post_assignment(key: Key, ask: Ask) -> dict[str, Any]:
        return await answer(Question(key, ask.unit_id, ask.attributes, ask.expose))
