"""The assignment service on the stack, as its integration tests run and ask it."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from libs.common.bus.control import control_message
from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Record
from libs.common.clock import SystemClock
from libs.common.lifecycle import Stop
from schemas.decode import decode
from schemas.event import Contract
from schemas.experiments import Experiment
from services.assignment.bootstrap import run_http
from services.assignment.config import AssignmentSettings
from tests.unit.assignment.make import TEMPLATE, model_state

DEADLINE_S = 60
CLOCK = SystemClock()


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class Place:
    """The running service, and the bus."""

    http: httpx.AsyncClient
    bus: KafkaBus
    url: str
    model: str

    async def send(self, topic: str, key: str, event: Contract) -> None:
        """Put an event on the bus, acknowledged."""
        producer = self.bus.producer()
        await producer.start()
        await producer.send(control_message(topic, key, event, source="test", clock=CLOCK))
        await producer.stop()

    async def heard(self, topic: str, key: str) -> list[Any]:
        """Return the events of one key that the topic holds now."""
        return [
            decode(topic, each.value, CLOCK.now_ms())
            for each in await self.records(topic)
            if each.key == key.encode()
        ]

    async def exposures(self, experiment_id: str) -> list[dict[str, Any]]:
        """Return the exposures of an experiment that the bus holds now."""
        found = [json.loads(each.value or b"") for each in await self.records("exposures")]
        return [each for each in found if each["experiment_id"] == experiment_id]

    async def records(self, topic: str) -> list[Record]:
        """Return all that the topic holds now."""
        reader = self.bus.reader([topic])
        await reader.start()
        try:
            partitions = reader.assignment()
            left = sum((await reader.end_offsets(partitions)).values())
            left -= sum((await reader.beginning_offsets(partitions)).values())
            found: list[Record] = []
            async with asyncio.timeout(DEADLINE_S):
                while left > 0:
                    for batch in (await reader.fetch(timeout_ms=200, max_records=500)).values():
                        left -= len(batch)
                        found += batch
            return found
        finally:
            await reader.stop()

    async def begin(self, *, default: Any, value: Any, **fields: Any) -> str:
        """Start an experiment that gives everybody `value`, and return its key."""
        key = f"flag-{secrets.token_hex(4)}"
        variants = [{"key": "off", "payload": default, "weight": 0.0}, {"key": "on", "payload": value}]
        body = {"experiment_id": key, "variants": variants, "control": "off", "policy": {"ramp": []}} | fields
        # As JSON by hand: it keeps the point of a float.
        answer = await self.http.post("/v1/experiments?start=true", content=json.dumps(body))
        assert answer.status_code == 201, answer.text
        return key

    async def trial(self) -> Experiment:
        """Begin a trial of version 2 against version 1 of this test's model, and return it."""
        await self.http.put(f"/v1/models/{self.model}/trial-template", content=TEMPLATE.to_json())
        await self.send("models", self.model, model_state(1, challenger="2", model=self.model))
        path = f"/v1/experiments/{self.model}-v2"
        await until(lambda: self.answers(path))
        return Experiment.model_validate_json((await self.http.get(path)).content)

    async def answers(self, path: str) -> bool:
        """True when a GET of the path is 200."""
        return (await self.http.get(path)).status_code == 200


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def served(settings: AssignmentSettings) -> AsyncIterator[Place]:
    """Run the service in this process while the block lasts, then drain it."""
    stop = Stop()
    task = asyncio.create_task(run_http(settings, stop))
    url = f"http://127.0.0.1:{settings.assignment_port}"
    bus = KafkaBus(settings.kafka_bootstrap_servers, client_id="test", clock=CLOCK)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10) as http:

            async def up() -> bool:
                if task.done():
                    task.result()
                try:
                    return (await http.get("/v1/rules")).status_code == 200
                except httpx.HTTPError:
                    return False

            await until(up)
            yield Place(http, bus, url, f"m-{secrets.token_hex(4)}")
    finally:
        stop.set("the test is over")
        async with asyncio.timeout(DEADLINE_S):
            await task
