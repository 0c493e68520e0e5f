"""The remote client against the real assignment service: the same answers as by the rules here."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from libs.common.bus.memory import MemoryBus
from schemas.experiments import Policy
from services.assignment.adapters.exposures import BusExposures
from services.assignment.entrypoints.http import Api, build
from services.assignment.handlers.create import create
from services.assignment.handlers.read_rules import RulesReader
from tests.unit.assignment.make import definition, desk
from trimtab import AsyncTrimtab
from trimtab.evaluation import evaluate
from trimtab.rules import parse

GERMAN = {"country": "DE", "tags": ["a", "b"]}


class InProcess(httpx.BaseTransport, httpx.ASGITransport):
    """The service in this process. What the client would send to a gateway goes nowhere."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Accept events."""
        count = len(json.loads(request.read())["events"])
        return httpx.Response(202, json={"accepted": count, "rejected": []})


@dataclass
class World:
    """A client, the service that it asks, and the bus behind that."""

    client: AsyncTrimtab
    transport: InProcess
    bus: MemoryBus

    def exposures(self) -> list[dict[str, Any]]:
        """Return the exposures that the service told."""
        return [json.loads(each.value or b"") for each in self.bus.records("exposures")]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One experiment on Germans, at the service."""
    place = desk()
    bus = MemoryBus(place.clock)
    producer = bus.producer()
    await producer.start()
    await create(place, definition(targeting={"country": "DE"}, policy=Policy(ramp=())), by="ada", start=True)
    api = Api(place, RulesReader(place.store), BusExposures(producer, deadline_ms=1_000))
    transport = InProcess(build(api, max_body_bytes=300_000))
    client = AsyncTrimtab(
        "http://gateway", "http://assignment", remote=True, assign_timeout_ms=5_000, transport=transport
    )
    async with client:
        yield World(client, transport, bus)
    await producer.stop()


async def test_asking_agrees_with_evaluating(world: World) -> None:
    """What the service answers is what the rules that it publishes say, and it tells the exposures."""
    async with httpx.AsyncClient(transport=world.transport, base_url="http://assignment") as http:
        rules = parse((await http.get("/v1/rules")).json())
    units = [f"user-{number}" for number in range(30)]
    for unit in units:
        for attributes in (GERMAN, {"country": "FR"}, None):
            asked = await world.client.assign(unit, "checkout", attributes)
            assert asked == evaluate(rules, "checkout", unit, attributes or {})
    assert sorted({each["unit_id"] for each in world.exposures()}) == sorted(units)
    assert world.client.stats().assign_errors == 0


async def test_exposure_can_wait_remotely(world: World) -> None:
    """With expose=False the service tells no exposure; the client does, when the unit meets its variant."""
    assignment = await world.client.assign("user-7", "checkout", GERMAN, expose=False)
    assert (assignment.in_experiment, world.exposures()) == (True, [])
    assert world.client.expose("user-7", assignment) is not None
    assert await world.client.flush()
    assert world.client.stats().accepted == 1


async def test_unknown_key_remotely(world: World) -> None:
    """What nobody has defined is unknown, which is no error."""
    assert (await world.client.assign("user-7", "nobody", {"n": 1e400})).reason == "unknown"
    assert world.client.stats().assign_errors == 0
