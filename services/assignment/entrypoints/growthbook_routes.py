"""What GrowthBook's SDKs ask: the features, their changes, and a place for their exposures."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import from_json

from libs.common.errors import Refused
from libs.common.telemetry.names import EVENTS_IGNORED, collector
from services.assignment.entrypoints.growthbook_feed import Feed
from services.assignment.entrypoints.growthbook_stream import GrowthbookStream
from services.assignment.handlers.accept_tracking import Accepted, AcceptTracking
from services.assignment.handlers.read_growthbook import GrowthbookReader

NOT_MODIFIED = 304
NOT_FOUND = 404
SSE_SUPPORT = {"x-sse-support": "enabled"}

ClientKey = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9_.\-]+$")]


@dataclass(frozen=True, slots=True)
class Growthbook:
    """Everything that these routes need."""

    reader: GrowthbookReader
    feed: Feed
    accept: AcceptTracking
    client_keys: frozenset[str] = frozenset()
    """The keys that are accepted; none: every key is."""

    def knows(self, client_key: str) -> bool:
        """Return whether a client with this key is served."""
        return not self.client_keys or client_key in self.client_keys


def routes(growthbook: Growthbook) -> APIRouter:
    """Return the routes /api/features, /sub and /v1/growthbook/exposures."""
    router = APIRouter(tags=["growthbook"])
    _features(router, growthbook)
    _stream(router, growthbook)
    _exposures(router, growthbook.accept)
    return router


def _features(router: APIRouter, growthbook: Growthbook) -> None:
    @router.get("/api/features/{client_key}", summary="The features, as GrowthBook's SDKs read them")
    async def get_features(client_key: ClientKey, if_none_match: Annotated[str, Header()] = "") -> Response:
        if not growthbook.knows(client_key):
            return _unknown(client_key)
        payload = await growthbook.reader.current()
        headers = {"etag": payload.etag, "cache-control": "no-cache"} | SSE_SUPPORT
        if _bare(payload.etag) in (_bare(each) for each in if_none_match.split(",")):
            return Response(status_code=NOT_MODIFIED, headers=headers)
        return Response(payload.body, media_type="application/json", headers=headers)


def _stream(router: APIRouter, growthbook: Growthbook) -> None:
    @router.get("/sub/{client_key}", summary="The features again whenever they change (server-sent events)")
    async def subscribe(client_key: ClientKey, last_event_id: Annotated[str, Header()] = "") -> Response:
        if not growthbook.knows(client_key):
            return _unknown(client_key)
        # Looked at now, so that what changed since the client fetched is not missed.
        await growthbook.feed.look()
        return GrowthbookStream(growthbook.feed, last_event_id)


def _exposures(router: APIRouter, accept: AcceptTracking) -> None:
    @router.post("/v1/growthbook/exposures", status_code=202, summary="Take what trackingCallback was given")
    async def post_exposures(request: Request) -> JSONResponse:
        """`{"experiment": {...}, "result": {...}, "attributes": {...}}`, or a list of at most 500. The good
        ones are accepted whatever the others are: 202 when all were, 422 naming index and field of those
        that were not, 503 naming in `retry` those to send again."""
        try:
            body = from_json(await request.body())
        except ValueError as error:
            raise Refused(f"the body is not JSON: {error}") from error
        return _answer(await accept(body if isinstance(body, list) else [body]))


def _answer(accepted: Accepted) -> JSONResponse:
    collector(EVENTS_IGNORED).labels(reason="not_in_experiment").inc(accepted.ignored)
    content: dict[str, Any] = {
        "accepted": accepted.accepted,
        "ignored": accepted.ignored,
        "rejected": [asdict(each) for each in accepted.rejected],
    }
    if accepted.retry:
        content["retry"] = list(accepted.retry)
        return JSONResponse(content, status_code=503, headers={"Retry-After": "1"})
    return JSONResponse(content, status_code=422 if accepted.rejected else 202)


def _unknown(client_key: str) -> Response:
    """Return GrowthBook's own shape of an error."""
    content = {"status": NOT_FOUND, "error": f"no client key {client_key}: see ASSIGNMENT_CLIENT_KEYS"}
    return JSONResponse(content, status_code=NOT_FOUND)


def _bare(etag: str) -> str:
    return etag.strip().removeprefix("W/")
