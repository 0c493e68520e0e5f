"""OFREP, as its clients meet it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from openfeature.flag_evaluation import Reason

from libs.common.bus.memory import MemoryBus
from libs.common.clock import ManualClock
from libs.common.http.rates import RateLimit
from schemas.experiments import Breakdown, ExperimentKind, Policy, Variant
from services.assignment.adapters.exposures import BusExposures
from services.assignment.adapters.sticky_memory import MemorySticky
from services.assignment.domain.change import Order
from services.assignment.domain.ofrep import REASONS
from services.assignment.entrypoints.http import Api, build
from services.assignment.handlers.create import create
from services.assignment.handlers.follow_model import follow_model
from services.assignment.handlers.pause import pause
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.ports import Desk
from tests.unit.assignment.make import definition, desk, model_state, store_of
from trimtab.flag_words import REASONS as PROVIDERS_REASONS

FLAGS = "/ofrep/v1/evaluate/flags"
ALL_IN: dict[str, Any] = {"policy": Policy(ramp=()), "coverage": 1.0}


@dataclass
class Service:
    """The service in this process."""

    http: httpx.AsyncClient
    desk: Desk
    bus: MemoryBus
    sticky: MemorySticky
    api: Api

    async def begin(self, experiment_id: str = "checkout", **fields: Any) -> None:
        """Start an experiment that covers everybody, and let the service see it."""
        await create(self.desk, definition(experiment_id, **(ALL_IN | fields)), by="ada", start=True)
        await self.api.rules.refresh()

    async def ask(self, key: str, unit_id: str = "u", **attributes: Any) -> httpx.Response:
        """Evaluate one flag."""
        return await self.http.post(
            f"{FLAGS}/{key}", json={"context": {"targetingKey": unit_id, **attributes}}
        )

    async def ask_all(self, etag: str = "", **context: Any) -> httpx.Response:
        """Evaluate all flags."""
        body = {"context": {"targetingKey": "u"} | context}
        return await self.http.post(FLAGS, json=body, headers={"if-none-match": etag} if etag else {})

    def exposures(self) -> list[dict[str, Any]]:
        """Return the exposures on the bus."""
        return [json.loads(each.value or b"") for each in self.bus.records("exposures")]


def serving(api: Api) -> httpx.AsyncClient:
    """Return a client of an API; the service's failures are answers, as they are over a network."""
    transport = httpx.ASGITransport(
        build(api, max_body_bytes=10_000), raise_app_exceptions=False, client=("10.0.0.1", 1)
    )
    return httpx.AsyncClient(transport=transport, base_url="http://assignment")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Return the service on a store and a bus in memory."""
    place = desk()
    bus = MemoryBus(place.clock)
    producer = bus.producer()
    await producer.start()
    sticky = MemorySticky(store_of(place))
    exposures = BusExposures(producer, deadline_ms=1_000)
    api = Api(place, RulesReader(place.store), exposures, sticky=sticky)
    async with serving(api) as http:
        yield Service(http, place, bus, sticky, api)
    await producer.stop()


def payloads(*values: Any) -> dict[str, Any]:
    """Return variants with these payloads, the first of them control's, with the last for everybody."""
    variants = [Variant(key=f"v{n}", payload=value, weight=0.0) for n, value in enumerate(values)]
    variants[-1] = variants[-1].model_copy(update={"weight": 1.0})
    return {"variants": tuple(variants), "control": "v0"}


async def test_single_evaluation_is_exposed_first(service: Service) -> None:
    """One flag has every field that clients want, and its exposure is on the bus, with the attributes that
    the experiment declares and no others."""
    await service.begin(
        breakdowns=(Breakdown(attribute="land", values=("de",)),), **payloads("blue", "green")
    )
    answer = await service.ask("checkout", "用户", land="de", secret="s3")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "key": "checkout",
        "value": "green",
        "variant": "v1",
        "reason": "SPLIT",
        "metadata": {
            "reason": "assigned",
            "in_experiment": True,
            "experiment_id": "checkout",
            "revision": 2,
            "exposed": True,
            "attributes": '["land"]',
        },
    }
    (exposure,) = service.exposures()
    assert (exposure["unit_id"], exposure["variant"], exposure["revision"]) == ("用户", "v1", 2)
    assert exposure["attributes"] == {"land": "de"}


async def test_attributes_that_no_event_can_carry_are_left_out(service: Service) -> None:
    """A list, null, a long text or a huge number does not stop the exposure; it goes without them."""
    names = ("a", "b", "c", "d", "e")
    await service.begin(breakdowns=tuple(Breakdown(attribute=each, values=("x",)) for each in names))
    await service.ask("checkout", a=[1], b=None, c="x" * 257, d=10**30, e=False)
    assert service.exposures()[0]["attributes"] == {"e": False}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        ("héllo", '"h\\u00e9llo"'),
        (3, "3"),
        (1.0, "1.0"),
        (1e300, "1e+300"),
        (10**30, str(10**30)),
        ({"a": [1.0, 2, None]}, '{"a":[1.0,2,null]}'),
        ([1.0], "[1.0]"),
    ],
)
async def test_values_keep_their_type(service: Service, value: Any, text: str) -> None:
    """A payload travels as it was written: 1.0 is not 1."""
    await service.begin(**payloads(value, value))
    assert f'"value":{text},' in (await service.ask("checkout")).text
    assert f'"value":{text},' in (await service.ask_all()).text


async def test_model_names_are_flags(service: Service) -> None:
    """A model's name gives its champion's version, unexposed; without a champion the code's default holds."""
    await follow_model(service.desk, model_state(1))
    await follow_model(service.desk, model_state(1, champion=None, model="orphan"))
    await service.api.rules.refresh()
    answer = (await service.ask("digits")).json()
    assert (answer["value"], answer["variant"], answer["reason"]) == ("1", "champion", "STATIC")
    orphan = (await service.ask("orphan")).json()
    assert "value" not in orphan
    assert (orphan["variant"], orphan["reason"]) == ("", "DEFAULT")
    assert service.exposures() == []


def test_every_reason_is_one_of_openfeatures() -> None:
    """Each of our reasons has a word that OpenFeature lists: the one that our own provider uses."""
    assert dict(REASONS) == {ours: theirs.value for ours, theirs in PROVIDERS_REASONS.items()}
    assert set(REASONS.values()) <= {each.name for each in Reason}


async def test_reasons(service: Service) -> None:
    """Who is targeted, forced, paused or outside is told so, in both words."""
    await service.begin("aimed", targeting={"land": "de"})
    await service.begin("set", forced=[{"unit_id": "u", "variant": "treatment"}])
    await service.begin("flag", kind=ExperimentKind.FLAG)
    await service.begin("tiny", coverage=0.0)
    await service.begin("paused")
    await pause(service.desk, Order("paused", "ada", "because"))
    await service.api.rules.refresh()
    found = {}
    for key in ("aimed", "set", "flag", "tiny", "paused"):
        answer = (await service.ask(key, land="fr")).json()
        found[key] = (answer["reason"], answer["metadata"]["reason"])
    assert found == {
        "aimed": ("DEFAULT", "not_targeted"),
        "set": ("TARGETING_MATCH", "forced"),
        "flag": ("SPLIT", "flag"),
        "tiny": ("DEFAULT", "outside"),
        "paused": ("DISABLED", "paused"),
    }
    assert (await service.ask("aimed", land="de")).json()["metadata"]["reason"] == "assigned"
    assert len(service.exposures()) == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "PARSE_ERROR"),
        (b"{", 400, "PARSE_ERROR"),
        (b'"\xff"', 400, "PARSE_ERROR"),
        (b'{"context":{"targetingKey":"\\ud800"}}', 400, "PARSE_ERROR"),
        (b"[" * 9_999, 400, "PARSE_ERROR"),
        (b'{"context":{"targetingKey":"u","x":NaN}}', 400, "PARSE_ERROR"),
        (b"[]", 400, "INVALID_CONTEXT"),
        (b'{"context":[]}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":7}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"a\\nb"}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"' + b"x" * 257 + b'"}}', 400, "INVALID_CONTEXT"),
        (b"{}", 400, "TARGETING_KEY_MISSING"),
        (b'{"context":null}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{}}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{"targetingKey":""}}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{"targetingKey":null}}', 400, "TARGETING_KEY_MISSING"),
        (b" " * 10_001, 413, "GENERAL"),
    ],
)
async def test_bad_requests_are_told_in_the_protocols_words(
    service: Service, body: bytes, status: int, code: str
) -> None:
    """Whatever is wrong, the answer has the code and the details that clients look for; never a 422."""
    await service.begin()
    for path in ("/checkout", ""):
        answer = await service.http.post(FLAGS + path, content=body)
        assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
        assert answer.json()["errorDetails"]
        assert answer.json().get("key") == (path[1:] or None)
    assert service.exposures() == []


@pytest.mark.parametrize("key", ["nobody", "a%2Fb", "a/b", "", "ü"])
async def test_unknown_key(service: Service, key: str) -> None:
    """A key that nobody has is 404 FLAG_NOT_FOUND, whatever stands in it."""
    answer = await service.http.post(f"{FLAGS}/{key}", json={"context": {"targetingKey": "u"}})
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert isinstance(answer.json()["key"], str)


async def test_other_paths_and_methods(service: Service) -> None:
    """What is not there is 404, and a wrong method 405, as JSON too."""
    assert (await service.http.get("/ofrep/v1/configuration")).status_code == 404
    answer = await service.http.get(f"{FLAGS}/checkout")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_bulk_exposes_nobody_and_says_what_a_hook_needs(service: Service) -> None:
    """All flags come at once; who takes part is for the client to expose, with what the metadata holds."""
    await service.begin()
    await service.begin("aimed", targeting={"land": "de"})
    await follow_model(service.desk, model_state(1))
    await service.api.rules.refresh()
    flags = {each["key"]: each for each in (await service.ask_all()).json()["flags"]}
    assert flags.keys() == {"checkout", "aimed", "digits"}
    metadata = flags["checkout"]["metadata"]
    assert (metadata["in_experiment"], metadata["exposed"]) == (True, False)
    assert (metadata["experiment_id"], metadata["revision"]) == ("checkout", 2)
    assert flags["aimed"]["metadata"]["in_experiment"] is False
    assert service.exposures() == []
    single = (await service.ask("checkout")).json()
    assert single["value"] == flags["checkout"]["value"]


async def test_bulk_tag_follows_rules_and_context(service: Service) -> None:
    """With its tag the answer is 304, until the rules or the context change."""
    await service.begin()
    etag = (await service.ask_all()).headers["etag"]
    again = await service.ask_all(f'"other", W/{etag}')
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await service.ask_all(etag, land="de")).status_code == 200
    assert (await service.ask_all(etag, targetingKey="v")).status_code == 200
    await service.begin("second")
    assert (await service.ask_all(etag)).status_code == 200


async def test_no_exposure_no_treatment(service: Service) -> None:
    """While the bus is down control is served and the metadata says why; afterwards the unit takes part."""
    await service.begin(**payloads("blue", "green"))
    service.bus.down()
    for _ in range(3):
        answer = (await service.ask("checkout")).json()
        assert (answer["value"], answer["variant"], answer["reason"]) == ("blue", "v0", "DEFAULT")
        assert (answer["metadata"]["reason"], answer["metadata"]["in_experiment"]) == ("not_exposed", False)
    service.bus.up()
    assert (await service.ask("checkout")).json()["value"] == "green"


async def test_rate_limit(service: Service) -> None:
    """Past the rate, OFREP and /v1/assignments are 429 with whole seconds to wait, and nothing is exposed."""
    await service.begin()
    clock = service.desk.clock
    assert isinstance(clock, ManualClock)
    limit = RateLimit(rate_per_s=0.4, burst=2, clock=clock)
    async with serving(replace(service.api, limit=limit)) as http:
        context = {"context": {"targetingKey": "u"}}
        statuses = [(await http.post(f"{FLAGS}/checkout", json=context)).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        for answer in (
            await http.post(FLAGS, json=context),
            await http.post(f"{FLAGS}/checkout", json=context),
            await http.get("/v1/assignments/checkout", params={"unit_id": "u"}),
            await http.post("/v1/assignments/checkout", json={"unit_id": "u"}),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        clock.advance(2_500)
        assert (await http.post(FLAGS, json=context)).status_code == 200
    assert len(service.exposures()) == 2


async def test_before_the_first_rules(service: Service) -> None:
    """While the database was never there, the answer is a server's error that clients understand; once the
    rules were had, an outage changes nothing."""
    store_of(service.desk).down = True
    answer = await service.ask("checkout")
    assert (answer.status_code, answer.json()["errorCode"]) == (500, "GENERAL")
    assert answer.json()["key"] == "checkout"
    store_of(service.desk).down = False
    await service.begin()
    store_of(service.desk).down = True
    assert (await service.ask("checkout")).status_code == 200


async def test_post_assignment_has_attributes(service: Service) -> None:
    """POST /v1/assignments takes attributes, for targeting and the exposure, and answers as GET does; with
    `expose` false it leaves the exposure to the caller."""
    await service.begin(targeting={"land": "de"}, breakdowns=(Breakdown(attribute="land", values=("de",)),))
    body = {"unit_id": "u", "attributes": {"land": "de", "deep": {"a": [1]}}}
    answer = (await service.http.post("/v1/assignments/checkout", json=body)).json()
    assert (answer["in_experiment"], answer["attributes"]) == (True, ["land"])
    assert service.exposures()[0]["attributes"] == {"land": "de"}
    got = (await service.http.get("/v1/assignments/checkout", params={"unit_id": "u"})).json()
    assert (got["reason"], got.keys()) == ("not_targeted", answer.keys())
    huge = {"unit_id": "v", "attributes": {"land": 10**400}}
    assert (await service.http.post("/v1/assignments/checkout", json=huge)).status_code == 200
    silent = body | {"unit_id": "w", "expose": False}
    answer = (await service.http.post("/v1/assignments/checkout", json=silent)).json()
    assert answer["in_experiment"] is True
    assert {each["unit_id"] for each in service.exposures()} == {"u"}
    bad = await service.http.post("/v1/assignments/checkout", json={"attributes": {}})
    assert (bad.status_code, bad.json()["error"]["field"]) == (422, "unit_id")


async def test_a_change_is_seen_by_the_next_evaluation(service: Service) -> None:
    """Who has started or paused an experiment over HTTP meets it at once, without waiting for a refresh."""
    await service.ask("checkout")
    content = definition(**ALL_IN).to_json()
    await service.http.post("/v1/experiments?start=true", content=content)
    assert (await service.ask("checkout")).json()["metadata"]["in_experiment"] is True
    await service.http.post("/v1/experiments/checkout/pause", json={"by": "ada", "reason": "why"})
    assert (await service.ask("checkout")).json()["reason"] == "DISABLED"
