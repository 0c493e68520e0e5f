"""The application that every HTTP service starts from."""

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from starlette.types import Lifespan

from libs.common.clock import Clock, SystemClock
from libs.common.http.errors import map_errors
from libs.common.http.gate import BodyLimit, Count

MAX_BODY_BYTES = 1_000_000


def make_app(
    title: str,
    *,
    max_body_bytes: int = MAX_BODY_BYTES,
    lifespan: Lifespan[FastAPI] | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """Return an application that answers errors in one shape, limits bodies, counts and traces requests.

    Refused is 422, NotFound 404, Conflict 409, Retryable 503 with Retry-After, an invalid request 422 that
    names the first field by its dotted path, a larger body 413, anything else 500 without a stack trace.
    """
    app = FastAPI(title=title, lifespan=lifespan)
    map_errors(app)
    app.add_middleware(BodyLimit, max_body_bytes=max_body_bytes)
    app.add_middleware(Count, clock=clock or SystemClock())  # added last: the outermost, so it counts 413 too
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    return app
