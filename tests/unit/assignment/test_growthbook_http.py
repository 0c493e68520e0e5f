"""What GrowthBook's SDKs ask over HTTP, on a store and a bus in memory."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from libs.common.bus.memory import MemoryBus
from libs.common.clock import ManualClock
from schemas.audience import Forced, Hashing
from schemas.experiments import Breakdown, ExperimentKind, Policy, Variant
from services.assignment.adapters.exposures import BusExposures
from services.assignment.entrypoints.growthbook_feed import Feed
from services.assignment.entrypoints.growthbook_routes import Growthbook
from services.assignment.entrypoints.http import Api, build
from services.assignment.handlers.accept_tracking import AcceptTracking
from services.assignment.handlers.create import create
from services.assignment.handlers.pause import pause
from services.assignment.handlers.read_growthbook import MAX_LINE_BYTES, GrowthbookReader
from services.assignment.handlers.read_rules import RulesReader
from services.assignment.handlers.roll_back import roll_back
from services.assignment.ports import Desk
from tests.unit.assignment.make import definition, desk, order

FEATURES = "/api/features/sdk-1"
EXPOSURES = "/v1/growthbook/exposures"


@dataclass
class Service:
    """The service in this process."""

    http: httpx.AsyncClient
    desk: Desk
    bus: MemoryBus
    reader: GrowthbookReader

    def exposures(self) -> list[dict[str, Any]]:
        """Return the exposures on the bus."""
        return [json.loads(each.value or b"") for each in self.bus.records("exposures")]

    async def start(self, experiment_id: str = "checkout", **fields: Any) -> None:
        """Start an experiment on everybody, hashed as GrowthBook does."""
        basis = {"hashing": Hashing.GROWTHBOOK_V2, "policy": Policy(ramp=())}
        await create(self.desk, definition(experiment_id, **(basis | fields)), by="ada", start=True)

    async def post(self, body: Any) -> httpx.Response:
        """Hand over what was tracked."""
        return await self.http.post(EXPOSURES, json=body)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Return the service for the client keys `sdk-1` and `sdk-2`."""
    place = desk()
    bus = MemoryBus(place.clock)
    producer = bus.producer()
    await producer.start()
    rules, exposures = RulesReader(place.store), BusExposures(producer, deadline_ms=1_000)
    reader = GrowthbookReader(rules, place.clock)
    growthbook = Growthbook(
        reader,
        Feed(reader, max_listeners=2),
        AcceptTracking(place, rules, exposures),
        frozenset({"sdk-1", "sdk-2"}),
    )
    app = build(Api(place, rules, exposures, growthbook=growthbook), max_body_bytes=1_000_000)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://assignment") as http:
        yield Service(http, place, bus, reader)
    await producer.stop()


def tracked(unit_id: Any = "u", variant: str = "treatment", **fields: Any) -> dict[str, Any]:
    """Return one call of trackingCallback as JSON, with changes of the result."""
    result = {
        "featureId": "checkout",
        "inExperiment": True,
        "hashUsed": True,
        "hashAttribute": "id",
        "hashValue": unit_id,
        "variationId": 1,
        "key": variant,
        "value": "green",
        "bucket": 0.7,
        "stickyBucketUsed": False,
    }
    return {"experiment": {"key": "checkout", "phase": "2", "variations": []}, "result": result | fields}


async def test_features_have_a_tag_and_a_date(service: Service) -> None:
    """The payload is 304 to its own tag until a feature changes; then its date is another, which is what the
    JavaScript SDK goes by; what no SDK can see changes neither."""
    await service.start()
    first = await service.http.get(FEATURES)
    assert first.headers["x-sse-support"] == "enabled"
    assert first.headers["cache-control"] == "no-cache"
    assert (first.json()["status"], list(first.json()["features"])) == (200, ["checkout"])
    tag = {"if-none-match": first.headers["etag"]}
    again = await service.http.get(FEATURES, headers=tag)
    assert (again.status_code, again.content, again.headers["x-sse-support"]) == (304, b"", "enabled")
    await service.start("other", hashing=Hashing.TRIMTAB)
    assert (await service.http.get(FEATURES, headers=tag)).status_code == 304
    await pause(service.desk, order())
    changed = await service.http.get(FEATURES, headers=tag)
    assert changed.json()["features"]["checkout"] == {"defaultValue": "blue"}
    assert changed.json()["dateUpdated"] != first.json()["dateUpdated"]


async def test_only_known_keys_are_served(service: Service) -> None:
    """Another client key is 404 in GrowthBook's own shape, for the stream too."""
    for path in ("/api/features/sdk-3", "/sub/sdk-3"):
        answer = await service.http.get(path)
        assert (answer.status_code, answer.json()["status"]) == (404, 404)
        assert "sdk-3" in answer.json()["error"]
    assert (await service.http.get("/api/features/sdk-2")).status_code == 200
    assert (await service.http.get("/api/features/a b")).status_code == 422


async def test_event_lines_are_short(service: Service) -> None:
    """However large a feature, its event has no line that growthbook for Python could not read; together the
    lines are the payload."""
    forced = tuple(Forced(unit_id=f"{n:0250d}", variant="treatment") for n in range(600))
    await service.start(forced=forced)
    await service.start("small")
    payload = await service.reader.current()
    assert max(map(len, payload.lines)) < MAX_LINE_BYTES < len(payload.body)
    assert json.loads(payload.body) == json.loads(b"\n".join(payload.lines))
    assert set(json.loads(payload.body)["features"]) == {"checkout", "small"}


async def test_tracked_exposure_is_on_the_bus(service: Service) -> None:
    """What trackingCallback was given is an exposure with unit, variant, revision and declared attributes."""
    await service.start(
        breakdowns=tuple(Breakdown(attribute=name, values=("de",)) for name in ("country", "n", "x"))
    )
    item = tracked("用户") | {"attributes": {"id": "用户", "country": "de", "email": "a@b.c", "n": 10**400}}
    answer = await service.post(item)
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 1, "ignored": 0, "rejected": []}
    (exposure,) = service.exposures()
    assert (exposure["unit_id"], exposure["experiment_id"]) == ("用户", "checkout")
    assert (exposure["variant"], exposure["revision"]) == ("treatment", 2)
    assert exposure["attributes"] == {"country": "de"}


async def test_tracked_twice_is_one_event(service: Service) -> None:
    """The same unit on the same day has the same event id, and it is the one of a remote assignment."""
    await service.start()
    answer = (await service.http.get("/v1/assignments/checkout", params={"unit_id": "7"})).json()
    for unit in ("7", 7):
        await service.post([tracked(unit, answer["variant"])])
    assert isinstance(service.desk.clock, ManualClock)
    ids = [each["event_id"] for each in service.exposures()]
    assert len(ids) == 3
    assert len(set(ids)) == 1


async def test_who_takes_no_part_is_ignored(service: Service) -> None:
    """Units outside, forced in the SDK, or forced in the experiment do not count and are no error."""
    await service.start(forced=(Forced(unit_id="tester", variant="treatment"),))
    items = [tracked(inExperiment=False), tracked(hashUsed=False), tracked("tester"), tracked("u")]
    answer = await service.post(items)
    assert answer.json() == {"accepted": 1, "ignored": 3, "rejected": []}
    assert [each["unit_id"] for each in service.exposures()] == ["u"]


async def test_each_bad_item_is_named(service: Service) -> None:
    """One answer names index and field of every item that is wrong; the good ones are on the bus."""
    await service.start()
    await service.start("flag", kind=ExperimentKind.FLAG)
    nobody = tracked() | {"experiment": {"key": "nobody"}}
    flag = tracked() | {"experiment": {"key": "flag"}}
    items = [
        tracked("good"),
        nobody,
        tracked(variant="1"),
        flag,
        tracked(""),
        tracked(hashAttribute="company"),
        {"experiment": {"key": "checkout"}},
        "text",
        tracked("a\u0000b"),
        tracked(2.5),
        tracked(10**400),
        tracked(True),
    ]
    answer = await service.post(items)
    assert answer.status_code == 422
    rejected = {each["index"]: each["field"] for each in answer.json()["rejected"]}
    assert rejected == {
        1: "experiment.key",
        2: "result.key",
        3: "experiment.key",
        4: "result.hashValue",
        5: "result.hashAttribute",
        6: "result",
        7: "",
        8: "result.hashValue",
        9: "result.hashValue",
        10: "result.hashValue",
        11: "result.hashValue",
    }
    assert [each["unit_id"] for each in service.exposures()] == ["good"]


async def test_units_that_still_meet_what_was_rolled_back_are_heard(service: Service) -> None:
    """After a rollback an exposure to the variant that lost its traffic is taken: it is a leak, and metrics
    must see it. A variant that never was is refused as ever."""
    await service.start()
    await roll_back(service.desk, order())
    answer = await service.post([tracked("late"), tracked(variant="ghost")])
    assert answer.json()["accepted"] == 1
    assert [each["field"] for each in answer.json()["rejected"]] == ["result.key"]
    (exposure,) = service.exposures()
    assert (exposure["variant"], exposure["revision"]) == ("treatment", 2)


async def test_outage_says_what_to_send_again(service: Service) -> None:
    """While the bus is down the answer is 503 naming what to send again; sent again it is accepted."""
    await service.start()
    service.bus.down()
    answer = await service.post([tracked(inExperiment=False), tracked("a"), tracked("b")])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"accepted": 0, "ignored": 1, "rejected": [], "retry": [1, 2]}
    service.bus.up()
    left = [tracked("a"), tracked("b")]
    while left:  # after an outage the bus is tried with one first
        again = (await service.post(left)).json()
        assert again["accepted"] > 0
        left = [left[index] for index in again.get("retry", [])]
    assert {each["unit_id"] for each in service.exposures()} == {"a", "b"}


async def test_what_cannot_be_a_batch_is_refused(service: Service) -> None:
    """More than 500 at once, and what is no JSON, is 422; nothing is on the bus."""
    await service.start()
    many = await service.post([tracked(f"u{n}") for n in range(501)])
    assert many.status_code == 422
    assert "500" in many.json()["error"]["message"]
    for body in (b"{", b"", b"NaN"):
        assert (await service.http.post(EXPOSURES, content=body)).status_code == 422
    assert service.exposures() == []


async def test_a_unit_of_many_variants_keeps_its_key(service: Service) -> None:
    """Variants without a payload have their key as value, so that one type is promised."""
    await service.start(variants=(Variant(key="control"), Variant(key="b"), Variant(key="c")))
    feature = (await service.http.get(FEATURES)).json()["features"]["checkout"]
    assert feature["defaultValue"] == "control"
    assert feature["rules"][0]["variations"] == ["control", "b", "c"]
