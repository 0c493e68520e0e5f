"""What every HTTP service answers, whatever it does."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client import REGISTRY

from libs.common.clock import ManualClock
from libs.common.errors import Conflict, Misconfigured, NotFound, Refused, Retryable, TrimtabError
from libs.common.http.app import make_app
from libs.common.http.body import json_body
from libs.common.http.errors import first_problem
from schemas.experiments import ExperimentDefinition
from schemas.facts import Conversion

MAX_BODY_BYTES = 10_000

FAILURES: dict[str, Exception] = {
    "refused": Refused("no such share", field="policy.ramp.0.share", next_step="choose 0 to 1"),
    "not_found": NotFound("no experiment 'x'", field="experiment_id"),
    "conflict": Conflict("somebody was faster", next_step="read it again"),
    "retryable": Retryable("PostgreSQL does not answer"),
    "misconfigured": Misconfigured("DATABASE_URL: postgresql://user:secret@host"),
    "defect": RuntimeError("secret detail"),
}


@pytest.fixture
def app() -> FastAPI:
    """Return an application with a route for every kind of trouble."""
    app = make_app("test", max_body_bytes=MAX_BODY_BYTES, clock=ManualClock())

    @app.get("/fail/{kind}")
    async def fail(kind: str) -> None:
        raise FAILURES[kind]

    @app.post("/definitions")
    async def define(body: Annotated[ExperimentDefinition, json_body(ExperimentDefinition)]) -> str:
        return body.experiment_id

    @app.post("/conversions")
    async def convert(body: Conversion, limit: int = 1) -> str:
        return body.event_id

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application, without a network."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        (
            "refused",
            422,
            {
                "type": "refused",
                "message": "no such share",
                "field": "policy.ramp.0.share",
                "next_step": "choose 0 to 1",
            },
        ),
        (
            "not_found",
            404,
            {"type": "not_found", "message": "no experiment 'x'", "field": "experiment_id", "next_step": ""},
        ),
        (
            "conflict",
            409,
            {"type": "conflict", "message": "somebody was faster", "field": "", "next_step": "read it again"},
        ),
    ],
)
async def test_our_errors_have_one_shape(
    client: httpx.AsyncClient, kind: str, status: int, error: dict[str, str]
) -> None:
    """Each kind of error has its status, and says what, where and what next."""
    answer = await client.get(f"/fail/{kind}")
    assert answer.status_code == status
    assert answer.json() == {"error": error}


async def test_what_may_work_later_says_when(client: httpx.AsyncClient) -> None:
    """A dependency that does not answer is a 503 with Retry-After."""
    answer = await client.get("/fail/retryable")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["type"] == "unavailable"


@pytest.mark.parametrize("kind", ["misconfigured", "defect"])
async def test_our_own_faults_leak_nothing(client: httpx.AsyncClient, kind: str) -> None:
    """A defect is a 500 without its message or stack trace."""
    answer = await client.get(f"/fail/{kind}")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "internal"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


FACT = {"event_id": "e", "occurred_at_ms": 1, "unit_id": "u", "name": "purchase"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "event_id"),
        ({**FACT, "value": "much"}, "value"),
        ({**FACT, "attributes": {"land": None}}, "attributes.land"),
        ({**FACT, "type": "exposure", "unit_id": ""}, "type"),
    ],
)
async def test_an_invalid_body_names_its_first_field(
    client: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    """A validation error names the field by its dotted path, without pydantic's own additions."""
    answer = await client.post("/conversions", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["type"] == "invalid"
    assert answer.json()["error"]["field"] == field


async def test_a_rule_of_the_whole_names_its_field_too(client: httpx.AsyncClient) -> None:
    """A rule between fields that names one in its message is counted as that field's."""
    variants = [{"key": "a"}, {"key": "b"}]
    body = {"experiment_id": "x", "variants": variants, "control": "c"}
    error = (await client.post("/definitions", json=body)).json()["error"]
    assert error["field"] == "control"
    assert error["message"] == "'c' is not the key of a variant"
    body["variants"] = [{"key": "a"}, {"key": "b", "weight": -1}]
    error = (await client.post("/definitions", json=body)).json()["error"]
    assert error["field"] == "variants.1.weight"


async def test_contracts_can_be_bodies(client: httpx.AsyncClient) -> None:
    """Strict models take their enums from the JSON of a request."""
    metric = {"name": "m", "conversion": "purchase", "kind": "mean", "role": "goal"}
    body = {
        "experiment_id": "x",
        "kind": "champion_challenger",
        "model": "digits",
        "variants": [{"key": "a", "weight": 1}, {"key": "b"}],
        "control": "a",
        "metrics": [metric],
        "policy": {"ramp": [{"share": 0.1, "min_duration_ms": 1, "requires": "stable"}]},
    }
    assert (await client.post("/definitions", json=body)).json() == "x"


async def test_a_query_and_a_broken_body_are_invalid_too(client: httpx.AsyncClient) -> None:
    """A wrong query parameter is named; what is not JSON is said to be that."""
    error = (await client.post("/conversions?limit=x", json=FACT)).json()["error"]
    assert error["field"] == "limit"
    answer = await client.post("/conversions", content=b'{"a":', headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("the body is not JSON")
    error = (await client.post("/definitions", content=b'{"a":')).json()["error"]
    assert error["message"].startswith("the body is not JSON")
    assert error["field"] == ""


async def test_unknown_paths_and_methods_have_the_same_shape(client: httpx.AsyncClient) -> None:
    """The framework's own errors look like ours."""
    assert (await client.get("/nothing")).json()["error"]["type"] == "not_found"
    answer = await client.get("/raw")
    assert answer.json()["error"]["type"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"


async def test_a_long_body_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    """A body that says it is too long is a 413, the longest allowed one is read."""
    assert (await client.post("/raw", content=b"x" * MAX_BODY_BYTES)).json() == MAX_BODY_BYTES
    answer = await client.post("/raw", content=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "too_large"


@pytest.mark.parametrize("path", ["/raw", "/conversions"])
async def test_a_chunked_body_is_counted(client: httpx.AsyncClient, path: str) -> None:
    """A body without a length is refused as soon as too much has come, however it is read."""
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1_000
            yield b"x" * 1_000

    headers = {"content-type": "application/json"}
    answer = await client.post(path, content=chunks(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "too_large"
    assert sent <= MAX_BODY_BYTES + 1_000


async def test_requests_are_counted_by_route(client: httpx.AsyncClient) -> None:
    """A route counts under its template, a path that is none under `unmatched`: labels stay few."""

    def count(route: str, status: str) -> float:
        labels = {"method": "GET", "route": route, "status": status}
        return REGISTRY.get_sample_value("trimtab_http_requests_total", labels) or 0.0

    before = count("/fail/{kind}", "404"), count("unmatched", "404")
    await client.get("/fail/not_found")
    await client.get("/some/other/path")
    assert (count("/fail/{kind}", "404"), count("unmatched", "404")) == (before[0] + 1, before[1] + 1)


def test_a_field_whose_name_is_a_kind_is_kept() -> None:
    """A top-level field called `str` is not mistaken for a kind of value."""
    assert first_problem([{"loc": ("body", "str"), "msg": "Field required", "type": "missing"}])[0] == "str"


def test_the_error_tree_is_mapped_to_its_last_leaf() -> None:
    """Every error of the tree is one of those that the tests above ask for, or a child of one."""
    known = (Refused, Conflict, Retryable, Misconfigured)
    tree = [kind for kind in TrimtabError.__subclasses__() if kind.__module__ == TrimtabError.__module__]
    strangers = [kind for kind in tree if not issubclass(kind, known)]
    assert [kind.__name__ for kind in strangers] == ["Poison"]
