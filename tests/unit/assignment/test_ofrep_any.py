"""OFREP with whatever a client may send: an answer in its shape, never a failure of the service."""

import asyncio
import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.memory import MemoryBus
from libs.common.http.rates import RateLimit
from schemas.experiments import Breakdown, Policy
from services.assignment.adapters.exposures import BusExposures
from services.assignment.adapters.sticky_memory import MemorySticky
from services.assignment.entrypoints.ofrep_routes import Ofrep
from services.assignment.handlers.create import create
from services.assignment.handlers.evaluate import Means
from services.assignment.handlers.read_rules import RulesReader
from tests.unit.assignment.make import definition, desk, store_of

CODES = {"PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"}
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
CONTEXTS = st.fixed_dictionaries(
    {}, optional={"targetingKey": st.text(max_size=300) | ANY, "land": st.just("de") | ANY, "a": ANY}
)
BODIES = st.binary(max_size=30) | st.builds(
    lambda document: json.dumps(document).encode(),
    ANY | st.builds(lambda context: {"context": context}, CONTEXTS | ANY),
)


async def ask(bodies: list[bytes], key: str) -> list[tuple[httpx.Response, httpx.Response]]:
    """Return the answers of a fresh service to each body, of one flag and of all."""
    place = desk()
    bus = MemoryBus(place.clock)
    producer = bus.producer()
    await producer.start()
    targeting: dict[str, Any] = {"$or": [{"land": {"$gt": 3}}, {"a.b": {"$in": ["x"]}}, {"land": "de"}]}
    breakdowns = tuple(Breakdown(attribute=each, values=("x",)) for each in ("land", "a"))
    fields: dict[str, Any] = {"targeting": targeting, "breakdowns": breakdowns, "policy": Policy(ramp=())}
    await create(place, definition("flag", sticky=True, **fields), by="ada", start=True)
    means = Means(place.clock, BusExposures(producer, deadline_ms=1_000), MemorySticky(store_of(place)))
    limit = RateLimit(rate_per_s=0, burst=1, clock=place.clock)
    app = Ofrep(means, RulesReader(place.store), limit, 10_000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        path = "/ofrep/v1/evaluate/flags"
        found = [
            (await http.post(f"{path}/{key}", content=body), await http.post(path, content=body))
            for body in bodies
        ]
    await producer.stop()
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=10), st.sampled_from(["flag", "nobody"]))
def test_any_body_is_answered_in_the_protocols_shape(bodies: list[bytes], key: str) -> None:
    """Each answer is a success with all its fields or an error with code and details; none is a 5xx."""
    for one, everything in asyncio.run(ask(bodies, key)):
        for answer in (one, everything):
            assert answer.status_code in (200, 400, 404), answer.text
            document = answer.json()
            if answer.status_code != 200:
                assert document["errorCode"] in CODES
                assert document["errorDetails"]
        if one.status_code == 200:
            assert one.json().keys() == {"key", "value", "variant", "reason", "metadata"}
        if everything.status_code == 200:
            assert [each["key"] for each in everything.json()["flags"]] == ["flag"]
