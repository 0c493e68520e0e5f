"""Bulk evaluation by OFREP, and what holds a remote evaluation back: limits, outages, rules that change."""

from dataclasses import replace

from libs.common.clock import ManualClock
from libs.common.http.rates import RateLimit
from schemas.experiments import Breakdown
from services.assignment.handlers.follow_model import follow_model
from tests.unit.assignment.make import definition, model_state, store_of
from tests.unit.assignment.remote import ALL_IN, FLAGS, Service, payloads, serving


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
