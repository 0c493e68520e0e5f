"""The gateway on a real Kafka: events in, views out, live changes."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from deploy.local.ports import choose_port
from libs.common.bus.control import control_message
from libs.common.bus.kafka import KafkaBus
from libs.common.clock import SystemClock
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from schemas.health import Alert, AlertState, Severity
from services.gateway.bootstrap import serve_gateway
from services.gateway.config import GatewaySettings

CLOCK = SystemClock()
DEADLINE_S = 30


@pytest.fixture
async def gateway(kafka_bootstrap_servers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A running gateway, spoken to over HTTP."""
    bus = KafkaBus(kafka_bootstrap_servers, client_id="gateway-test", clock=CLOCK)
    port = choose_port(18_080)
    settings = GatewaySettings(kafka_bootstrap_servers=kafka_bootstrap_servers, gateway_port=port.number)
    port.forget()
    stop, health = Stop(), Health(CLOCK)
    health.require("http")
    running = asyncio.ensure_future(serve_gateway(bus, settings, stop, clock=CLOCK, health=health))
    async with asyncio.timeout(DEADLINE_S):
        while not health.ready():
            assert not running.done(), running.result()
            await asyncio.sleep(0.02)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port.number}", timeout=DEADLINE_S) as client:
        yield client
    stop.set("the test is over")
    async with asyncio.timeout(DEADLINE_S):
        await running


async def test_an_accepted_event_is_in_the_log(
    gateway: httpx.AsyncClient, kafka_bootstrap_servers: str
) -> None:
    """What the gateway accepts, a reader of the topic finds."""
    event_id = uuid.uuid4().hex
    event = {"event_id": event_id, "occurred_at_ms": CLOCK.now_ms(), "unit_id": "ü", "name": "buy"}
    answer = await gateway.post("/v1/events/conversion", json=event)
    assert answer.status_code == 202, answer.text
    bus = KafkaBus(kafka_bootstrap_servers, client_id="reader", clock=CLOCK)
    reader = bus.reader(["conversions"])
    await reader.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            found: list[bytes | None] = []
            while not any(event_id.encode() in (value or b"") for value in found):
                batches = await reader.fetch(timeout_ms=500, max_records=1_000)
                found = [record.value for records in batches.values() for record in records]
    finally:
        await reader.stop()


async def test_a_change_is_shown_and_told_live(
    gateway: httpx.AsyncClient, kafka_bootstrap_servers: str
) -> None:
    """An alert on the bus reaches the listeners of `/v1/stream` and then stands under `/v1/alerts`."""
    subject = f"m-{uuid.uuid4().hex[:8]}"
    alert = Alert(
        alert_id=uuid.uuid4().hex, subject=subject, cause="drift", severity=Severity.HIGH,
        state=AlertState.OPENED, title="drift", detail="", source="drift",
        opened_at_ms=CLOCK.now_ms(), changed_at_ms=CLOCK.now_ms(),
    )  # fmt: skip
    bus = KafkaBus(kafka_bootstrap_servers, client_id="drift-test", clock=CLOCK)
    producer = bus.producer()
    await producer.start()
    try:
        async with gateway.stream("GET", "/v1/stream?kinds=alert") as stream:
            lines = stream.aiter_lines()
            assert (await anext(lines)).startswith(":")
            await producer.send(control_message("alerts", subject, alert, source="test", clock=CLOCK))
            async with asyncio.timeout(DEADLINE_S):
                told = [line async for line in _until_data(lines, subject)]
    finally:
        await producer.stop()
    assert "event: alert" in told
    assert json.loads(told[-1].removeprefix("data: "))["alert_id"] == alert.alert_id
    shown = (await gateway.get(f"/v1/alerts?subject={subject}")).json()["alerts"]
    assert [each["alert_id"] for each in shown] == [alert.alert_id]


async def _until_data(lines: AsyncIterator[str], subject: str) -> AsyncIterator[str]:
    with suppress(StopAsyncIteration):
        while True:
            line = await anext(lines)
            yield line
            if line.startswith("data:") and subject in line:
                return
