"""What clients ask: the rule set, or one assignment."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from schemas.names import Key, UnitId
from services.assignment.handlers.evaluate import assign
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.ports import Desk, Exposures

NOT_MODIFIED = 304


def routes(desk: Desk, rules: RulesReader, exposures: Exposures) -> APIRouter:
    """Return the routes /v1/rules and /v1/assignments."""
    router = APIRouter(prefix="/v1")

    @router.get("/rules")
    async def get_rules(if_none_match: Annotated[str, Header()] = "") -> Response:
        current = await rules.current()
        headers = {"etag": current.etag, "cache-control": "no-cache"}
        if current.etag in (each.strip().removeprefix("W/") for each in if_none_match.split(",")):
            return Response(status_code=NOT_MODIFIED, headers=headers)
        return Response(current.body, media_type="application/json", headers=headers)

    @router.get("/assignments/{key}")
    async def get_assignment(key: Key, unit_id: Annotated[UnitId, Query()]) -> dict[str, Any]:
        current = await rules.current()
        return asdict(await assign(desk, exposures, current.rules, key=key, unit_id=unit_id))

    return router
