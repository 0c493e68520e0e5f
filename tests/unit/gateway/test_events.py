"""The event routes: what becomes of a batch is counted."""

import json

import httpx
import pytest

from libs.common.bus.memory import MemoryBus
from libs.common.clock import ManualClock
from libs.common.http.app import make_app
from libs.common.telemetry.names import EVENTS_TAKEN, collector
from services.gateway.entrypoints import events
from services.gateway.handlers.take_events import TakeEvents

GOOD = {"type": "conversion", "event_id": "e1", "occurred_at_ms": 1, "unit_id": "u1", "name": "purchase"}


def counts() -> dict[str, float]:
    """Return the counter's values by outcome."""
    counter = collector(EVENTS_TAKEN)
    return {each: counter.labels(each)._value.get() for each in ("accepted", "rejected", "retry")}


@pytest.mark.parametrize(
    ("down", "status", "grown"),
    [
        pytest.param(False, 422, {"accepted": 2, "rejected": 1, "retry": 0}, id="one is bad"),
        pytest.param(True, 503, {"accepted": 0, "rejected": 1, "retry": 2}, id="the bus is away"),
    ],
)
async def test_events_are_counted_by_outcome(down: bool, status: int, grown: dict[str, float]) -> None:
    """Each event of a batch counts once: accepted, rejected, or to be sent again."""
    bus = MemoryBus(ManualClock())
    producer = bus.producer()
    await producer.start()
    if down:
        bus.down()
    app = make_app("test")
    app.include_router(events.routes(TakeEvents(producer, ManualClock(), 10)))
    before = counts()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        body = json.dumps({"events": [GOOD, {**GOOD, "unit_id": ""}, GOOD]})
        answer = await http.post("/v1/events", content=body)
    assert answer.status_code == status
    assert {name: now - before[name] for name, now in counts().items()} == grown
