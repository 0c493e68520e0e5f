"""The HTTP API, on the bus in memory: what callers get, and what reaches the bus."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from libs.common.bus.memory import MemoryBus
from libs.common.clock import ManualClock
from libs.common.errors import Retryable
from schemas.decode import decode
from schemas.event import Contract
from schemas.experiments import (
    Experiment,
    ExperimentDefinition,
    ExperimentState,
    Rollback,
    Variant,
    Verdict,
    VerdictKind,
)
from schemas.health import Alert, AlertState, HealthState, ModelHealth, Performance, Severity
from schemas.results import Result
from schemas.versions import ModelState, ModelVersion, Registration, Retraining, RetrainingState
from services.gateway.config import GatewaySettings
from services.gateway.domain.live import Live
from services.gateway.domain.views import Views
from services.gateway.entrypoints.http import Gateway, build
from services.gateway.handlers.request_retraining import RegisterVersion, RequestRetraining
from services.gateway.handlers.show import Show
from services.gateway.handlers.take_events import TakeEvents
from services.gateway.ports import Answer

CLOCK = ManualClock()
NOW_MS = CLOCK.now_ms()


class Assignment:
    """An assignment service that answers what it was asked, or not at all."""

    def __init__(self) -> None:
        self.down = False

    async def forward(
        self, method: str, path: str, *, query: Mapping[str, str], body: bytes | None
    ) -> Answer:
        if self.down:
            raise Retryable("assignment does not answer", next_step="is it up?")
        asked = {"method": method, "path": path, "query": dict(query), "body": (body or b"").decode()}
        return Answer(201, TypeAdapter(dict).dump_json(asked), {"content-type": "application/json"})


class Place:
    """The gateway with everything around it."""

    def __init__(self) -> None:
        self.bus = MemoryBus(CLOCK)
        self.producer = self.bus.producer()
        self.assignment = Assignment()
        self.views = Views()
        self.live = Live(max_subscribers=1, queue_limit=10)
        self.show = Show(self.views, self.live)
        self.settings = GatewaySettings(
            kafka_bootstrap_servers="memory",
            gateway_max_batch=5,
            gateway_max_body_bytes=20_000,
            assignment_max_body_bytes=10_000,
        )
        gateway = Gateway(
            take_events=TakeEvents(self.producer, CLOCK, self.settings.gateway_max_batch),
            request_retraining=RequestRetraining(self.producer, CLOCK),
            register_version=RegisterVersion(self.producer, CLOCK),
            assignment=self.assignment,
            views=self.views,
            live=self.live,
            clock=CLOCK,
        )
        transport = httpx.ASGITransport(build(gateway, self.settings), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    def events(self, topic: str) -> list[Contract]:
        """Return what reached a topic."""
        return [decode(topic, record.value, NOW_MS) for record in self.bus.records(topic)]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    await place.bus.admin().ensure_topics(
        ["conversions", "exposures", "predictions", "feedback", "retraining"]
    )
    await place.producer.start()
    yield place
    await place.http.aclose()
    await place.producer.stop()


def conversion(event_id: str, **changes: Any) -> dict[str, Any]:
    event = {
        "type": "conversion",
        "event_id": event_id,
        "occurred_at_ms": NOW_MS,
        "unit_id": "u",
        "name": "buy",
    }
    return {**event, **changes}


async def test_a_good_batch_is_on_the_bus_when_it_is_accepted(place: Place) -> None:
    """202 means that every event is in its topic."""
    answer = await place.http.post("/v1/events", json={"events": [conversion("a"), conversion("b")]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "rejected": []})
    assert len(place.events("conversions")) == 2


async def test_a_bad_event_is_named_and_the_rest_is_accepted(place: Place) -> None:
    """422 names index and field; the good events of the batch are on the bus."""
    bad = conversion("x", unit_id="u" * 257)
    answer = await place.http.post("/v1/events", json={"events": [conversion("a"), bad, conversion("b")]})
    assert answer.status_code == 422
    assert answer.json()["accepted"] == 2
    assert [(each["index"], each["field"]) for each in answer.json()["rejected"]] == [(1, "unit_id")]
    assert len(place.events("conversions")) == 2


async def test_a_single_event_takes_its_type_from_the_path(place: Place) -> None:
    """POST /v1/events/conversion needs no type in the body; another word in the path is refused."""
    event = {key: value for key, value in conversion("a").items() if key != "type"}
    assert (await place.http.post("/v1/events/conversion", json=event)).status_code == 202
    assert (await place.http.post("/v1/events/purchase", json=event)).status_code == 422
    assert len(place.events("conversions")) == 1


async def test_an_outage_says_which_to_send_again(place: Place) -> None:
    """While the bus is down: 503, Retry-After, and the indexes to send again; nothing is lost silently."""
    place.bus.down()
    answer = await place.http.post("/v1/events", json={"events": [conversion("a"), {"type": "?"}]})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["retry"] == [0]
    assert answer.json()["rejected"][0]["index"] == 1
    place.bus.up()
    assert (await place.http.post("/v1/events", json={"events": [conversion("a")]})).status_code == 202


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{", 422, id="no JSON"),
        pytest.param(b"[]", 422, id="no object"),
        pytest.param(b'{"events": 3}', 422, id="no list"),
        pytest.param(b'{"events": [' + b"0," * 5 + b"0]}", 422, id="too long a batch"),
        pytest.param(b" " * 20_001, 413, id="too large a body"),
    ],
)
async def test_a_bad_batch_is_refused_as_a_whole(place: Place, body: bytes, status: int) -> None:
    """What is no batch is refused with a reason, and nothing reaches the bus."""
    answer = await place.http.post("/v1/events", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert place.events("conversions") == []


async def test_commands_are_passed_on_to_assignment(place: Place) -> None:
    """Method, path, query and body reach assignment; its answer comes back as it is."""
    answer = await place.http.post("/v1/experiments?start=true", json={"experiment_id": "e"})
    assert answer.status_code == 201
    assert answer.json()["path"] == "/v1/experiments"
    assert answer.json()["query"] == {"start": "true"}
    assert (await place.http.post("/v1/experiments/e/rollback", json={})).status_code == 201
    assert (await place.http.post("/v1/experiments/e/coverage", json={})).status_code == 201
    assert (await place.http.get("/v1/models/m/quarantine")).json()["method"] == "GET"
    assert (await place.http.post("/v1/models/m/quarantine/lift", json={})).json()["method"] == "POST"
    assert (await place.http.put("/v1/models/m/trial-template", json={})).json()["method"] == "PUT"
    assert (await place.http.post("/v1/experiments/e/explode", json={})).status_code == 422


async def test_what_assignment_would_not_take_is_not_passed_on(place: Place) -> None:
    """413, and not 503: assignment hangs up on a body that is too large for it, as if it were down."""
    place.assignment.down = True
    answer = await place.http.post("/v1/experiments", content=b" " * 10_001)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "too_large")
    assert (await place.http.post("/v1/experiments", content=b" " * 10_000)).status_code == 503


async def test_an_absent_assignment_is_said(place: Place) -> None:
    """503 with what to do next while assignment does not answer."""
    place.assignment.down = True
    answer = await place.http.post("/v1/experiments", json={})
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert answer.json()["error"]["next_step"]


async def test_a_retraining_request_reaches_the_retrainer(place: Place) -> None:
    """The answer names the id under which the retrainer will answer."""
    body = {"by": "ann", "reason": "new labels", "dry_run": True}
    answer = await place.http.post("/v1/models/m/retraining", json=body)
    assert answer.status_code == 202
    (request,) = place.events("retraining")
    assert isinstance(request, Retraining)
    assert request.retraining_id == answer.json()["retraining_id"]
    assert (request.state, request.dry_run, request.force) == (RetrainingState.REQUESTED, True, False)


async def test_a_registration_reaches_the_retrainer(place: Place) -> None:
    """A version is asked to be champion or challenger; a candidate it cannot be."""
    body = {"version": "2", "role": "challenger", "by": "ann", "reason": "try it"}
    assert (await place.http.post("/v1/models/m/versions", json=body)).status_code == 202
    (request,) = place.events("retraining")
    assert isinstance(request, Registration)
    assert (request.version, request.role) == ("2", "challenger")
    refused = await place.http.post("/v1/models/m/versions", json={**body, "role": "candidate"})
    assert refused.status_code == 422
    assert refused.json()["error"]["field"].endswith("role")


def known() -> list[Contract]:
    experiment = Experiment(
        experiment_id="e",
        variants=(Variant(key="a"), Variant(key="b")),
        control="a",
        state=ExperimentState.ROLLED_BACK,
        revision=3,
        stage_started_at_ms=1,
        created_at_ms=1,
        updated_at_ms=2,
        changed_by="metrics",
        reason="harm",
    )
    verdict = Verdict(
        verdict_id="v", experiment_id="e", revision=2, stage=0, kind=VerdictKind.ROLL_BACK,
        variant="b", occurred_at_ms=1, reason="harm",
    )  # fmt: skip
    rollback = Rollback(
        rollback_id="r", experiment_id="e", variants=("b",), safe_variant="a",
        occurred_at_ms=2, decided_by="assignment", reason="harm",
    )  # fmt: skip
    result = Result(
        experiment_id="e", revision=2, computed_at_ms=1, as_of_ms=1, counts=(), multi_variant_units=0,
        summaries=(), comparisons=(), sample_ratio=None, offsets={},
    )  # fmt: skip
    health = ModelHealth(
        model="m", version="1", state=HealthState.HEALTHY, computed_at_ms=1, as_of_ms=1, predictions=5,
        labelled=4, window_predictions=5, drifted_features=0, features=(), reason="",
        performance=Performance(metric="accuracy", score=0.9, reference_score=0.9, labelled=4),
    )  # fmt: skip
    version = ModelVersion(version="1", origin="registered", created_at_ms=1)
    model = ModelState(model="m", revision=1, champion=version, challenger=None, updated_at_ms=1, reason="")
    alert = Alert(
        alert_id="a", subject="m", cause="drift", severity=Severity.HIGH, state=AlertState.OPENED, title="t",
        detail="d", source="drift", opened_at_ms=1, changed_at_ms=1,
    )  # fmt: skip
    return [experiment, verdict, rollback, result, health, model, alert]


async def test_what_is_known_can_be_read(place: Place) -> None:
    """Experiments, results, models, health and alerts are shown once they were on the bus."""
    for event in known():
        await place.show(event)
    found = (await place.http.get("/v1/experiments/e")).json()
    assert found["experiment"]["state"] == "rolled_back"
    assert [each["kind"] for each in found["verdicts"]] == ["roll_back"]
    assert found["rollbacks"][0]["safe_variant"] == "a"
    assert (await place.http.get("/v1/experiments")).json()["experiments"][0]["experiment_id"] == "e"
    assert (await place.http.get("/v1/experiments/e/results")).json()["revision"] == 2
    model = (await place.http.get("/v1/models/m")).json()
    assert model["model"]["champion"]["version"] == "1"
    assert model["health"][0]["performance"]["score"] == 0.9
    assert (await place.http.get("/v1/models")).json()["models"][0]["model"] == "m"
    assert (await place.http.get("/v1/models/m/health")).json()["health"][0]["state"] == "healthy"
    assert (await place.http.get("/v1/models/m/retraining")).json() == {"retrainings": []}
    assert len((await place.http.get("/v1/alerts?state=opened&subject=m")).json()["alerts"]) == 1
    assert (await place.http.get("/v1/alerts?state=resolved")).json()["alerts"] == []


async def test_an_experiment_is_shown_with_the_alerts_that_last(place: Place) -> None:
    """Whoever looks at a rolled-back experiment sees that it leaks, and no longer once that is over."""
    opened = Alert(
        alert_id="l", subject="e", cause="leak", severity=Severity.CRITICAL, state=AlertState.OPENED,
        title="t", detail="d", source="metrics", opened_at_ms=1, changed_at_ms=1,
    )  # fmt: skip
    for event in (*known(), opened):
        await place.show(event)
    shown = (await place.http.get("/v1/experiments/e")).json()["alerts"]
    assert [(each["cause"], each["severity"]) for each in shown] == [("leak", "critical")]
    resolved = opened.model_copy(update={"state": AlertState.RESOLVED, "changed_at_ms": 2})
    await place.show(resolved)
    assert (await place.http.get("/v1/experiments/e")).json()["alerts"] == []


async def test_whatever_takes_a_body_can_be_tried_in_the_page(place: Place) -> None:
    """The description at /docs offers a body with an example for every route that needs one."""
    paths = (await place.http.get("/openapi.json")).json()["paths"]
    changing = [
        (path, route) for path, routes in paths.items() for verb, route in routes.items() if verb != "get"
    ]
    assert len(changing) >= 8
    for path, route in changing:
        assert route["requestBody"]["content"]["application/json"], path
    created = paths["/v1/experiments"]["post"]
    assert {each["name"] for each in created["parameters"]} == {"start", "by"}


async def test_the_examples_in_the_page_are_valid(place: Place) -> None:
    """The batch that the page offers is accepted, and its experiment is one that assignment would take."""
    paths = (await place.http.get("/openapi.json")).json()["paths"]

    def example(path: str) -> Any:
        return paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]

    taken = await place.http.post("/v1/events", json=example("/v1/events"))
    assert taken.status_code == 202, taken.text
    one = await place.http.post("/v1/events/conversion", json=example("/v1/events/{fact_type}"))
    assert one.status_code == 202, one.text
    ExperimentDefinition.model_validate_json(json.dumps(example("/v1/experiments")))


@pytest.mark.parametrize(
    "path", ["/v1/experiments/x", "/v1/experiments/x/results", "/v1/models/x", "/v1/models/x/health"]
)
async def test_what_is_unknown_is_404(place: Place, path: str) -> None:
    """A name that nobody has spoken of is 404, with the field that named it."""
    answer = await place.http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["field"]


async def test_unknown_kinds_of_live_changes_are_refused(place: Place) -> None:
    """A misspelt kind would never come: it is refused, and too many listeners are told to come later."""
    answer = await place.http.get("/v1/stream?kinds=results")
    assert answer.status_code == 422
    with place.live.subscribe(frozenset()):
        assert (await place.http.get("/v1/stream")).status_code == 503
