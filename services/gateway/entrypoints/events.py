"""Events in, single and in batches."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from libs.common.errors import Refused
from libs.common.telemetry.names import EVENTS_TAKEN, collector
from services.gateway.domain.intake import parse_body
from services.gateway.entrypoints import described
from services.gateway.handlers.take_events import TakeEvents, Taken

FactType = Annotated[str, Path(pattern="^(exposure|prediction|conversion|feedback)$")]


def routes(take_events: TakeEvents) -> APIRouter:
    """Return the routes that take events in."""
    router = APIRouter(prefix="/v1/events", tags=["events"])

    several, one = described.body(described.BATCH), described.body({**described.EVENT})

    @router.post("", status_code=202, summary="Take a batch of events", openapi_extra=several)
    async def batch(request: Request) -> JSONResponse:
        """`{"events": [...]}`, each with its `type`. The good ones are accepted whatever the others are:
        202 when all were, 422 naming index and field of those that were not, 503 naming in `retry` those
        to send again (with the same `event_id`)."""
        body = parse_body(await request.body())
        events = body.get("events") if isinstance(body, dict) else None
        if not isinstance(events, list):
            raise Refused('the body is {"events": [...]}', field="events")
        return _answer(await take_events(events))

    @router.post("/{fact_type}", status_code=202, summary="Take one event", openapi_extra=one)
    async def single(fact_type: FactType, request: Request) -> JSONResponse:
        """One event as the whole body; its `type` is in the path."""
        body = parse_body(await request.body())
        if not isinstance(body, dict):
            raise Refused("an event is a JSON object", field="body")
        return _answer(await take_events([{**body, "type": fact_type}]))

    return router


def _answer(taken: Taken) -> JSONResponse:
    outcomes = {"accepted": taken.accepted, "rejected": len(taken.rejected), "retry": len(taken.retry)}
    for outcome, count in outcomes.items():
        collector(EVENTS_TAKEN).labels(outcome).inc(count)
    content: dict[str, Any] = {
        "accepted": taken.accepted,
        "rejected": [
            {"index": each.index, "field": each.field, "problem": each.problem} for each in taken.rejected
        ],
    }
    if taken.retry:
        content["retry"] = list(taken.retry)
        return JSONResponse(content, status_code=503, headers={"Retry-After": "1"})
    return JSONResponse(content, status_code=422 if taken.rejected else 202)
