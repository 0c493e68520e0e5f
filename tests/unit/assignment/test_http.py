"""The HTTP API, as its callers meet it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from libs.common.bus.memory import MemoryBus
from libs.common.clock import ManualClock
from schemas.experiments import DAY_MS
from services.assignment.adapters.exposures import BusExposures
from services.assignment.entrypoints.http import Api, build
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.ports import Desk
from tests.unit.assignment.make import TEMPLATE, definition, desk, model_state, trial
from trimtab.rules import parse

BODY = {"reason": "because", "by": "ada"}


@dataclass
class Service:
    """The service in this process."""

    http: httpx.AsyncClient
    desk: Desk
    bus: MemoryBus

    def exposures(self) -> list[dict[str, Any]]:
        """Return the exposures on the bus."""
        return [json.loads(each.value or b"") for each in self.bus.records("exposures")]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Return the service on a store and a bus in memory."""
    place = desk()
    bus = MemoryBus(place.clock)
    producer = bus.producer()
    await producer.start()
    api = Api(place, RulesReader(place.store), BusExposures(producer, deadline_ms=1_000))
    transport = httpx.ASGITransport(build(api, max_body_bytes=300_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://assignment") as http:
        yield Service(http, place, bus)
    await producer.stop()


async def post(service: Service, path: str, body: Any) -> httpx.Response:
    """Send JSON."""
    content = body.to_json() if hasattr(body, "to_json") else json.dumps(body).encode()
    return await service.http.post(path, content=content, headers={"content-type": "application/json"})


async def test_life_over_http(service: Service) -> None:
    """An experiment is created as a draft and taken through its life by POST; its history tells all."""
    created = await post(service, "/v1/experiments?by=ada", definition())
    assert (created.status_code, created.json()["state"]) == (201, "draft")
    for step, state in (
        ("start", "running"),
        ("advance", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("rollback", "rolled_back"),
    ):
        answer = await post(service, f"/v1/experiments/checkout/{step}", BODY)
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    history = (await service.http.get("/v1/experiments/checkout/history")).json()["history"]
    assert [each["revision"] for each in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["reason"] == "because"
    assert history[-1]["changed_by"] == "ada"


async def test_coverage_over_http(service: Service) -> None:
    """Less coverage is 422 until it is said what becomes of exposed units; the history says how many there
    were."""
    await post(service, "/v1/experiments?start=true", definition())
    path = "/v1/experiments/checkout/coverage"
    assert (await post(service, path, BODY | {"stage": 2})).json()["coverage"] == 1.0
    refused = await post(service, path, BODY | {"stage": 1})
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "exposed_units")
    kept = await post(service, path, BODY | {"stage": 1, "exposed_units": "keep"})
    assert kept.status_code == 422
    lowered = await post(service, path, BODY | {"stage": 1, "exposed_units": "to_control"})
    assert (lowered.status_code, lowered.json()["coverage"]) == (200, 0.5)
    history = (await service.http.get("/v1/experiments/checkout/history?limit=2")).json()["history"]
    assert [each["lost_share"] for each in history] == [0.0, 0.25]
    assert history[-1]["remembers_since"] == history[-1]["revision"]


async def test_weights_over_http(service: Service) -> None:
    """Weights by hand are taken for experiments that remember their units, and refused for others."""
    body = BODY | {"weights": {"control": 1.0, "treatment": 3.0}}
    await post(service, "/v1/experiments?start=true", definition(sticky=True))
    await post(service, "/v1/experiments?start=true", definition("plain"))
    answer = await post(service, "/v1/experiments/checkout/weights", body)
    assert (answer.status_code, answer.json()["variants"][1]["weight"]) == (200, 3.0)
    answer = await post(service, "/v1/experiments/plain/weights", body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "weights")
    answer = await post(service, "/v1/experiments/checkout/weights", BODY | {"weights": {"control": 0.0}})
    assert answer.status_code == 422


async def test_forced_units_over_http(service: Service) -> None:
    """Units are forced into a variant by name, do not count, and are released by the next list."""
    await post(service, "/v1/experiments?start=true", definition())
    path, tester = "/v1/experiments/checkout/forced", {"unit_id": "tester"}
    body = BODY | {"forced": [{"unit_id": "tester", "variant": "treatment"}]}
    assert (await post(service, path, body)).status_code == 200
    await service.http.get("/v1/rules")
    answer = (await service.http.get("/v1/assignments/checkout", params=tester)).json()
    assert (answer["variant"], answer["reason"], answer["in_experiment"]) == ("treatment", "forced", False)
    for bad in ([{"unit_id": "tester", "variant": "nobody"}], body["forced"] * 2):
        refused = await post(service, path, BODY | {"forced": bad})
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "forced")
    assert (await post(service, path, BODY | {"forced": []})).json()["forced"] == []
    await service.http.get("/v1/rules")
    assert (await service.http.get("/v1/assignments/checkout", params=tester)).json()["reason"] != "forced"


async def test_quarantine_over_http(service: Service) -> None:
    """A person lifts a quarantine by POST; the log tells of both."""
    await post(service, "/v1/experiments?start=true", trial("digits-v2"))
    await post(service, "/v1/experiments/digits-v2/rollback", BODY)
    path = "/v1/models/digits/quarantine"
    missing = await post(service, f"{path}/lift", BODY | {"version": "9"})
    assert (missing.status_code, missing.json()["error"]["field"]) == (422, "version")
    lifted = await post(service, f"{path}/lift", BODY | {"version": "2"})
    assert (lifted.json()["quarantined"], lifted.json()["lifted"]) == ([], ["2"])
    log = (await service.http.get(path)).json()["log"]
    assert [(each["version"], each["act"]) for each in log] == [("2", "quarantined"), ("2", "lifted")]
    nobody = await post(service, "/v1/models/nobody/quarantine/lift", BODY | {"version": "2"})
    assert nobody.status_code == 404


async def test_create_with_start(service: Service) -> None:
    """With start=true the experiment runs at once, and is listed among the running."""
    created = await post(service, "/v1/experiments?start=true", definition())
    assert created.json()["state"] == "running"
    listed = (await service.http.get("/v1/experiments", params={"state": "running"})).json()["experiments"]
    assert [each["experiment_id"] for each in listed] == ["checkout"]
    assert (await service.http.get("/v1/experiments/checkout")).json() == listed[0]


async def test_stop_and_promote(service: Service) -> None:
    """The other two ends are there as well."""
    await post(service, "/v1/experiments?start=true", definition())
    assert (await post(service, "/v1/experiments/checkout/promote", BODY)).json()["state"] == "promoted"
    await post(service, "/v1/experiments?start=true", definition("other"))
    assert (await post(service, "/v1/experiments/other/stop", BODY)).json()["state"] == "stopped"


def changed(**fields: Any) -> dict[str, Any]:
    """Return a definition as JSON with changes."""
    return json.loads(definition().to_json()) | fields


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "experiment_id"),
        ([], ""),
        (changed(experiment_id="a/b"), "experiment_id"),
        (changed(experiment_id="x" * 129), "experiment_id"),
        (changed(control="nobody"), "control"),
        (changed(variants=[{"key": "control"}]), "variants"),
        (changed(variants=[{"key": "control"}, {"key": "b", "weight": "heavy"}]), "variants.1.weight"),
        (changed(kind="ball"), "kind"),
        (changed(kind="champion_challenger"), "model"),
        (changed(kind="champion_challenger", model="digits"), "variants"),
    ],
)
async def test_bad_definition_names_its_field(service: Service, body: Any, field: str) -> None:
    """A definition that breaks a rule is 422 with the field's name; nothing is created."""
    answer = await post(service, "/v1/experiments", body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert (await service.http.get("/v1/experiments")).json() == {"experiments": []}


async def test_what_is_no_json_is_refused(service: Service) -> None:
    """A body that is no JSON, or not finite, is 422; one too large is 413."""
    for content in (b"{", b"", b"\xff", definition().to_json().replace(b"1.0", b"NaN", 1)):
        answer = await service.http.post("/v1/experiments", content=content)
        assert answer.status_code == 422, content
    answer = await service.http.post("/v1/experiments", content=b" " * 300_001)
    assert answer.status_code == 413


async def test_what_postgresql_cannot_keep_is_refused(service: Service) -> None:
    """U+0000 in who and why is 422 at once: the log of quarantines has no place for it."""
    await post(service, "/v1/experiments?start=true", definition())
    for field in ("by", "reason"):
        answer = await post(service, "/v1/experiments/checkout/rollback", BODY | {field: "a\0b"})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


async def test_errors_say_what_to_do(service: Service) -> None:
    """Unknown is 404, taken is 409, illegal is 422 that lists what is legal, an incomplete order is 422."""
    assert (await service.http.get("/v1/experiments/nobody")).status_code == 404
    assert (await service.http.get("/v1/experiments/nobody/history")).status_code == 404
    await post(service, "/v1/experiments", definition())
    assert (await post(service, "/v1/experiments", definition())).status_code == 409
    illegal = await post(service, "/v1/experiments/checkout/rollback", BODY)
    assert illegal.status_code == 422
    assert illegal.json()["error"]["next_step"] == "legal now: start, stop, force"
    silent = await post(service, "/v1/experiments/checkout/start", {"by": "ada"})
    assert (silent.status_code, silent.json()["error"]["field"]) == (422, "reason")


async def test_store_that_is_down_asks_to_come_back(service: Service) -> None:
    """While the database is away, requests are 503 with Retry-After."""
    service.desk.store.down = True  # type: ignore[attr-defined]
    answer = await service.http.get("/v1/experiments")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_rules_and_their_tag(service: Service) -> None:
    """The rules come with a tag; asked for with it they are 304 until something changes."""
    first = await service.http.get("/v1/rules")
    etag = first.headers["etag"]
    again = await service.http.get("/v1/rules", headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    await post(service, "/v1/experiments?start=true", definition())
    changed_now = await service.http.get("/v1/rules", headers={"if-none-match": etag})
    assert changed_now.status_code == 200
    assert "checkout" in parse(changed_now.json()).experiments


async def test_template_opens_the_trial(service: Service) -> None:
    """PUT of the template opens the trial of a challenger that waits; before, the model's page tells why."""
    assert (await service.http.get("/v1/models/digits")).status_code == 404
    await follow_model(service.desk, model_state(1, challenger="2"))
    waiting = (await service.http.get("/v1/models/digits")).json()
    assert waiting["champion"] == "1"
    assert "PUT /v1/models/digits/trial-template" in waiting["waiting"]
    assert (await service.http.get("/v1/models/digits/trial-template")).status_code == 404
    put = await service.http.put("/v1/models/digits/trial-template", content=TEMPLATE.to_json())
    assert (put.status_code, put.json()["experiment_id"]) == (200, "digits-v2")
    kept = await service.http.get("/v1/models/digits/trial-template")
    assert kept.json() == json.loads(TEMPLATE.to_json())


async def test_bad_template_names_its_field(service: Service) -> None:
    """A template without metrics, or with one twice, is 422 with the field's name."""
    for metrics in ([], [{"name": "a", "conversion": "a"}] * 2):
        answer = await service.http.put("/v1/models/digits/trial-template", json={"metrics": metrics})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "metrics")


async def test_remote_assignment_is_exposed_first(service: Service) -> None:
    """A remote assignment in an experiment has its exposure on the bus when the answer comes."""
    await post(service, "/v1/experiments?start=true", trial("digits-v2"))
    for number in range(100):
        answer = await service.http.get("/v1/assignments/digits", params={"unit_id": f"用户-{number}"})
        body = answer.json()
        found = [each for each in service.exposures() if each["unit_id"] == f"用户-{number}"]
        assert len(found) == body["in_experiment"]
        if found:
            assert (found[0]["variant"], found[0]["revision"]) == (body["variant"], 2)
            assert found[0]["experiment_id"] == body["experiment_id"] == "digits-v2"
        else:
            assert (body["model_version"], body["reason"]) == ("1", "outside")
    assert len(service.exposures()) > 5


async def test_asking_again_is_the_same_exposure(service: Service) -> None:
    """However often a unit is asked for in a day, its exposure has one id; another day has another."""
    variants = [{"key": "control", "weight": 0.0}, {"key": "treatment"}]
    await post(
        service, "/v1/experiments?start=true", changed(variants=variants, policy={"ramp": []}, coverage=1.0)
    )
    assert isinstance(service.desk.clock, ManualClock)
    for unit_id, later_ms in (("u", 0), ("u", 1), ("v", 1), ("u", DAY_MS)):
        service.desk.clock.advance(later_ms)
        await service.http.get("/v1/assignments/checkout", params={"unit_id": unit_id})
    told = sorted(service.exposures(), key=lambda each: each["occurred_at_ms"])
    first, again, other, tomorrow = (each["event_id"] for each in told)
    assert first == again
    assert len({first, other, tomorrow}) == 3


async def test_no_exposure_no_treatment(service: Service) -> None:
    """While the bus is down everybody gets control, takes no part, and is told so."""
    variants = [{"key": "control", "weight": 0.0}, {"key": "treatment"}]
    await post(
        service, "/v1/experiments?start=true", changed(variants=variants, policy={"ramp": []}, coverage=1.0)
    )
    service.bus.down()
    answer = (await service.http.get("/v1/assignments/checkout", params={"unit_id": "u"})).json()
    assert (answer["variant"], answer["in_experiment"], answer["reason"]) == (
        "control", False, "not_exposed",
    )  # fmt: skip
    service.bus.up()
    answer = (await service.http.get("/v1/assignments/checkout", params={"unit_id": "u"})).json()
    assert (answer["variant"], answer["in_experiment"]) == ("treatment", True)


@pytest.mark.parametrize("unit_id", ["", "x" * 257, "a\u0000b", None])
async def test_bad_unit_is_refused(service: Service, unit_id: str | None) -> None:
    """A unit id that no event could carry is 422 naming the field."""
    params = {} if unit_id is None else {"unit_id": unit_id}
    answer = await service.http.get("/v1/assignments/digits", params=params)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "unit_id")


async def test_unknown_key_is_answered(service: Service) -> None:
    """An unknown key is no error: the caller's own default applies, and the reason says so."""
    answer = (await service.http.get("/v1/assignments/nobody", params={"unit_id": "u"})).json()
    assert (answer["variant"], answer["reason"]) == (None, "unknown")
