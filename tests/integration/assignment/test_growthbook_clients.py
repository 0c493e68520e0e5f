"""GrowthBook's own SDKs, for Python and for JavaScript, as clients of the running service.

`pytest -s` shows what they say.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import growthbook
import httpx
import pytest
from growthbook.common_types import FeatureRefreshStrategy, Options, UserContext
from growthbook.growthbook_client import GrowthBookClient

from schemas.audience import Forced, Hashing
from schemas.experiments import Policy
from schemas.facts import Exposure
from services.assignment.config import AssignmentSettings
from tests.clients.javascript.harness import started
from tests.integration.assignment.running import Place, served, until
from tests.unit.assignment.make import definition

KEY = "sdk-test"
IN_FORCE_S = 3
"""From the answer to a rollback to its being in force at an SDK that listens: seconds."""


def say(line: str) -> None:
    """Show what a client says under `pytest -s`."""
    sys.stdout.write(f"\n[growthbook {growthbook.__version__}] {line}")


@pytest.fixture
async def place(settings: AssignmentSettings) -> AsyncIterator[Place]:
    """Return the running service."""
    async with served(settings) as here:
        yield here


async def running(place: Place, forced_units: int = 0) -> str:
    """Start an A/B experiment on half of all units, hashed as GrowthBook does; return its id."""
    name = f"e-{secrets.token_hex(4)}"
    forced = tuple(Forced(unit_id=f"{n:0256d}", variant="treatment") for n in range(forced_units))
    basis = {"hashing": Hashing.GROWTHBOOK_V2, "policy": Policy(ramp=()), "coverage": 0.5, "forced": forced}
    asked = definition(name, **basis)
    answer = await place.http.post("/v1/experiments?start=true", content=asked.to_json())
    assert answer.status_code == 201, answer.text
    return name


async def roll_back(place: Place, name: str) -> None:
    """Roll an experiment back."""
    answer = await place.http.post(
        f"/v1/experiments/{name}/rollback", json={"by": "ada", "reason": "it harms"}
    )
    assert answer.status_code == 200, answer.text


@asynccontextmanager
async def python_client(place: Place, viewed: Callable[..., Any]) -> AsyncIterator[GrowthBookClient]:
    """Return growthbook for Python, asynchronous, with the stream of changes."""
    client = GrowthBookClient(
        Options(
            api_host=place.url,
            client_key=f"{KEY}-{secrets.token_hex(4)}",
            refresh_strategy=FeatureRefreshStrategy.SERVER_SENT_EVENTS,
            on_experiment_viewed=viewed,
        )
    )
    assert await client.initialize()
    try:
        yield client
    finally:
        await client.close()


async def values(client: GrowthBookClient, feature: str, ids: list[str]) -> dict[str, Any]:
    """Return what units get."""
    said = {}
    for unit in ids:
        said[unit] = (await client.eval_feature(feature, UserContext(attributes={"id": unit}))).value
    return said


async def test_python_sdk_lives_with_the_service(place: Place) -> None:
    """growthbook for Python fetches and evaluates, its tracked exposures land on Kafka with variant and
    revision, and a rollback reaches it over SSE within seconds."""
    name, tracked = await running(place), []

    def viewed(experiment: Any, result: Any, user_context: Any) -> None:
        tracked.append({"experiment": experiment.to_dict(), "result": result.to_dict()})

    ids = [f"{name}-用户-{number}" for number in range(60)]
    async with python_client(place, viewed) as client:
        said = await values(client, name, ids)
        for unit, value in said.items():
            answer = (await place.http.get(f"/v1/assignments/{name}", params={"unit_id": unit})).json()
            assert (answer["payload"], answer["value"]) == (value, value)
        assert set(said.values()) == {"blue", "green"}
        answer = await place.http.post("/v1/growthbook/exposures", json=tracked)
        assert answer.json() == {"accepted": len(tracked), "ignored": 0, "rejected": []}
        say(f"{len(ids)} units, {len(tracked)} in the experiment; taken: {answer.text}")
        first = tracked[0]["result"]
        exposures = await place.heard("exposures", first["hashValue"])
        assert all(isinstance(each, Exposure) for each in exposures)
        # Once by the SDK's callback, once by the remote assignment above: one event.
        assert len({each.event_id for each in exposures}) == 1
        assert {(each.variant, each.revision) for each in exposures} == {(first["key"], 2)}
        began = asyncio.get_running_loop().create_task(asyncio.sleep(IN_FORCE_S))
        await roll_back(place, name)

        async def in_force() -> bool:
            return set((await values(client, name, ids)).values()) == {"blue"}

        await until(in_force)
        assert not began.done(), f"it took more than {IN_FORCE_S} s"
        began.cancel()
        say("the rollback arrived over SSE: every unit has control")


async def test_synchronous_python_sdk(place: Place) -> None:
    """The synchronous class fetches, evaluates, and hears of a rollback over SSE as well, though the event is
    larger than the longest line that it can read."""
    await running(place, forced_units=700)
    name = await running(place)
    ids = [f"{name}-{number}" for number in range(40)]

    def values_now(client: growthbook.GrowthBook) -> set[Any]:
        said = set()
        for unit in ids:
            client.set_attributes({"id": unit})
            said.add(client.get_feature_value(name, "fallback"))
        return said

    def made() -> growthbook.GrowthBook:
        return growthbook.GrowthBook(api_host=place.url, client_key=f"{KEY}-{name}", streaming=True)

    client = await asyncio.to_thread(made)
    try:
        assert values_now(client) == {"blue", "green"}
        await roll_back(place, name)

        async def in_force() -> bool:
            return values_now(client) == {"blue"}

        await until(in_force)
        say("synchronous: the rollback arrived over SSE")
    finally:
        await asyncio.to_thread(client.destroy)


async def test_javascript_sdk_lives_with_the_service(place: Place) -> None:
    """@growthbook/growthbook does the same on Node.js, and gives every unit what the service gives it."""
    name = await running(place)
    arguments = (place.url, KEY, name, "60", "30")

    def listen(lines: list[dict[str, Any]], ready: asyncio.Event, loop: asyncio.AbstractEventLoop) -> str:
        with started("growthbook_live.mjs", *arguments) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:
                sys.stdout.write(f"\n[@growthbook/growthbook] {line[:200].rstrip()}")
                if line.startswith("{"):
                    lines.append(json.loads(line))
                    loop.call_soon_threadsafe(ready.set)
            return process.stderr.read()

    lines: list[dict[str, Any]] = []
    ready = asyncio.Event()
    listening = asyncio.create_task(asyncio.to_thread(listen, lines, ready, asyncio.get_running_loop()))
    async with asyncio.timeout(60):
        await asyncio.wait(
            {listening, waiting := asyncio.create_task(ready.wait())}, return_when="FIRST_COMPLETED"
        )
    waiting.cancel()
    assert lines, await listening
    await roll_back(place, name)
    async with asyncio.timeout(60):
        errors = await listening
    assert len(lines) == 2, errors
    said, after = lines
    assert said["exposed"] == len(said["tracked"]) > 10
    for unit, variant in said["tracked"]:
        (exposure,) = await place.heard("exposures", unit)
        assert (exposure.variant, exposure.revision) == (variant, 2)
    assert set(said["said"].values()) == {"blue", "green"}
    assert after["value"] == "blue"
    assert after["waited_ms"] < IN_FORCE_S * 1_000


async def whole_stream(url: str, connected: asyncio.Event) -> str:
    """Return all that a stream says until it ends; a stream that is cut off is an error."""
    said = []
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as http,
        http.stream("GET", f"/sub/{KEY}") as stream,
    ):
        async for text in stream.aiter_text():
            said.append(text)
            connected.set()
    return "".join(said)


async def test_streams_end_with_the_service_and_come_back(
    settings: AssignmentSettings,
) -> None:
    """A service that stops ends its streams itself, so that it need not cut them off; the SDK finds the next
    one and hears of what that does."""
    async with AsyncExitStack() as clients:
        async with served(settings) as first:
            name, connected = await running(first), asyncio.Event()
            ids = [f"{name}-{number}" for number in range(40)]
            client = await clients.enter_async_context(python_client(first, lambda **_: None))
            assert set((await values(client, name, ids)).values()) == {"blue", "green"}
            stream = asyncio.create_task(whole_stream(first.url, connected))
            await connected.wait()
        assert "event: features" in await stream
        async with served(settings) as second:
            await roll_back(second, name)

            async def in_force() -> bool:
                return set((await values(client, name, ids)).values()) == {"blue"}

            await until(in_force)
            say("after a restart of the service the rollback arrived over SSE")
