"""The service on Apache Kafka and PostgreSQL, with the public client beside it."""

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deploy.local.stack import LocalStack
from libs.common.lifecycle import Stop
from libs.common.settings import load
from schemas.experiments import Experiment, Rollback, VerdictKind
from schemas.facts import Exposure
from services.assignment import bootstrap
from services.assignment.bootstrap import run_http
from services.assignment.config import AssignmentSettings
from tests.integration.assignment.running import DEADLINE_S, Place, free_port, served, until
from tests.unit.assignment.make import definition, model_state, verdict
from trimtab import Trimtab

log = logging.getLogger(__name__)

IN_FORCE_MS = 2_000
"""From a verdict on the bus to its rollback in force at a client that refreshes every second."""


@pytest.fixture
def client(settings: AssignmentSettings) -> Iterator[Trimtab]:
    """Return a client of the service, refreshing every second as by default; its gateway does not exist."""
    url = f"http://127.0.0.1:{settings.assignment_port}"
    made = Trimtab("http://127.0.0.1:9", url)
    yield made
    made.close(deadline_ms=100)


def versions(client: Trimtab, model: str) -> set[str | None]:
    """Return the versions that two hundred units get."""
    return {client.assign(f"user-{n}", model, expose=False).model_version for n in range(200)}


async def test_rollback_is_in_force_within_two_seconds(place: Place, client: Trimtab) -> None:
    """From the verdict on the bus to no client serving the version: under 2 s with a refresh of 1 s."""
    trial = await place.trial()
    await asyncio.to_thread(client.start)

    async def serves(wanted: set[str | None]) -> bool:
        return versions(client, place.model) == wanted

    await until(lambda: serves({"1", "2"}))
    await place.send("verdicts", trial.experiment_id, verdict(trial, VerdictKind.ROLL_BACK))
    began = time.monotonic()
    await until(lambda: serves({"1"}))
    took_ms = (time.monotonic() - began) * 1_000
    assert took_ms < IN_FORCE_MS
    log.info("rollback in force at the client after %.0f ms", took_ms)

    async def told() -> bool:
        return bool(await place.heard("rollbacks", trial.experiment_id))

    await until(told)
    (rollback,) = await place.heard("rollbacks", trial.experiment_id)
    assert isinstance(rollback, Rollback)
    assert rollback.model_versions == ("2",)
    states = [each.state for each in await place.heard("experiments", trial.experiment_id)]
    assert states == ["draft", "running", "rolled_back"]


async def test_promotion_reaches_clients_and_bus(place: Place, client: Trimtab) -> None:
    """A ramp on verdicts ends in a promotion that clients follow before `models` confirms it."""
    trial = await place.trial()
    path = f"/v1/experiments/{trial.experiment_id}"
    for kind in (VerdictKind.ADVANCE, VerdictKind.ADVANCE, VerdictKind.PROMOTE):
        now = Experiment.model_validate_json((await place.http.get(path)).content)
        await place.send("verdicts", now.experiment_id, verdict(now, kind))

        async def moved(revision: int = now.revision) -> bool:
            return (await place.http.get(path)).json()["revision"] > revision

        await until(moved)
    await asyncio.to_thread(client.start)
    assert versions(client, place.model) == {"2"}
    view = (await place.http.get(f"/v1/models/{place.model}")).json()
    assert (view["champion"], view["confirmed"]) == ("2", False)
    await place.send("models", place.model, model_state(2, champion="2", model=place.model))

    async def confirmed() -> bool:
        return bool((await place.http.get(f"/v1/models/{place.model}")).json()["confirmed"])

    await until(confirmed)


async def test_state_survives_a_restart(settings: AssignmentSettings) -> None:
    """A process that starts anew serves the same rules and follows what came while it was away."""
    async with served(settings) as first:
        trial = await first.trial()
        etag = (await first.http.get("/v1/rules")).headers["etag"]
    await first.send("verdicts", trial.experiment_id, verdict(trial, VerdictKind.ROLL_BACK))
    async with served(settings) as second:
        path = f"/v1/experiments/{trial.experiment_id}"

        async def rolled_back() -> bool:
            return (await second.http.get(path)).json()["state"] == "rolled_back"

        await until(rolled_back)
        assert (await second.http.get("/v1/rules")).headers["etag"] != etag
        history = (await second.http.get(f"{path}/history")).json()["history"]
        assert [each["state"] for each in history] == ["draft", "running", "rolled_back"]


async def test_bus_outage_serves_control_and_loses_no_event(place: Place, stack: LocalStack) -> None:
    """While Kafka is away remote evaluation serves control, experiments go on changing, and their events
    arrive when it is back."""
    name = f"e-{secrets.token_hex(4)}"
    await place.http.post("/v1/experiments?start=true", content=definition(name).to_json())

    async def answers() -> list[dict[str, Any]]:
        params = [{"unit_id": f"user-{n}"} for n in range(80)]  # a fifth takes part
        return [(await place.http.get(f"/v1/assignments/{name}", params=each)).json() for each in params]

    taking_part = [each for each in await answers() if each["in_experiment"]]
    assert taking_part
    unit = next(f"user-{n}" for n, each in enumerate(await answers()) if each["in_experiment"])
    assert [each.unit_id for each in await place.heard("exposures", unit) if each.experiment_id == name]
    await asyncio.to_thread(stack.kill_kafka)
    answer = (await place.http.get(f"/v1/assignments/{name}", params={"unit_id": unit})).json()
    paused = await place.http.post(f"/v1/experiments/{name}/pause", json={"by": "ada", "reason": "outage"})
    assert paused.json()["state"] == "paused"
    assert (answer["variant"], answer["reason"]) == ("control", "not_exposed")
    await asyncio.to_thread(stack.wait_ready)

    async def told() -> bool:
        return [each.state for each in await place.heard("experiments", name)][-1:] == ["paused"]

    await until(told)


async def test_exposure_is_on_the_bus_before_the_answer(place: Place) -> None:
    """A remote assignment that takes part is on `exposures` with its variant and revision."""
    name = f"e-{secrets.token_hex(4)}"
    await place.http.post("/v1/experiments?start=true", content=definition(name).to_json())
    for n in range(50):
        unit = f"{name}-{n}"
        answer = (await place.http.get(f"/v1/assignments/{name}", params={"unit_id": unit})).json()
        if answer["in_experiment"]:
            (exposure,) = await place.heard("exposures", unit)
            assert isinstance(exposure, Exposure)
            assert (exposure.variant, exposure.revision) == (answer["variant"], answer["revision"])
            return
    pytest.fail("no unit of fifty takes part at a coverage of 20 %")


async def test_not_ready_before_it_listens(
    settings: AssignmentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While everything but the HTTP server is there the process is not ready; once that listens, it is."""
    monkeypatch.setenv("TELEMETRY_PORT", str(free_port()))
    settings, stop, listen, real = load(AssignmentSettings), Stop(), asyncio.Event(), bootstrap.serve

    async def late(*args: Any, **kwargs: Any) -> None:
        await listen.wait()
        await real(*args, **kwargs)

    monkeypatch.setattr(bootstrap, "serve", late)
    task = asyncio.create_task(run_http(settings, stop))
    ready = f"http://127.0.0.1:{settings.telemetry_port}/health/ready"
    try:
        async with httpx.AsyncClient() as http:

            async def lacks(*parts: str) -> bool:
                try:
                    return set((await http.get(ready)).json()["reasons"]) == set(parts)
                except httpx.ConnectError:
                    return False

            await until(lambda: lacks("http"))
            listen.set()
            await until(lacks)
            url = f"http://127.0.0.1:{settings.assignment_port}/v1/rules"
            assert (await http.get(url)).status_code == 200
    finally:
        listen.set()
        stop.set("the test is over")
        async with asyncio.timeout(DEADLINE_S):
            await task


async def test_process_starts_drains_and_refuses(settings: AssignmentSettings) -> None:
    """`python -m services.assignment http` becomes ready, leaves with 0 on SIGTERM, and with 2 and one clear
    line when a setting is missing."""
    telemetry = free_port()
    environment = os.environ | {"TELEMETRY_PORT": str(telemetry)}
    command = (sys.executable, "-m", "services.assignment", "http")
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    try:
        async with httpx.AsyncClient() as http:

            async def ready() -> bool:
                try:
                    return (await http.get(f"http://127.0.0.1:{telemetry}/health/ready")).status_code == 200
                except httpx.HTTPError:
                    return False

            await until(ready)
            metrics = (await http.get(f"http://127.0.0.1:{telemetry}/metrics")).text
            assert "trimtab_rollbacks_total" in metrics
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            _, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    del environment["KAFKA_BOOTSTRAP_SERVERS"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    _, log = await process.communicate()
    assert process.returncode == 2
    assert b"KAFKA_BOOTSTRAP_SERVERS" in log
