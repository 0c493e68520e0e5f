"""Delivery when things go wrong: nothing is lost silently, nothing is counted twice."""

import time
from functools import partial
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.services import Maker, Reply, Services, accept, busy, until
from trimtab import Trimtab, delivery

OUTCOMES = ("accept", "reject", "again", "busy", "refuse", "large", "lost", "page")


def answer(outcome: str, events: list[dict[str, Any]]) -> Reply:
    """Answer a batch in one of the ways that gateways and what stands before them have."""
    first = {"index": 0, "field": "name", "problem": "too long"}
    replies: dict[str, Reply] = {
        "accept": accept(events),
        "reject": httpx.Response(422, json={"accepted": len(events) - 1, "rejected": [first]}),
        "again": httpx.Response(503, json={"accepted": len(events) - 1, "rejected": [], "retry": [0]}),
        "busy": busy(events),
        "refuse": httpx.Response(400, text="not JSON"),
        "large": httpx.Response(413),
        "lost": httpx.ReadTimeout("no answer"),
        "page": httpx.Response(202, content=b"[" * 100_000),
    }
    return replies[outcome]


def test_outage_repeats_with_the_same_ids(make: Maker, services: Services) -> None:
    """Connection errors, 5xx and 429 lose nothing: the same events come again and are accepted once."""
    ledger: list[str] = []
    services.script = [
        lambda _: httpx.ConnectError("nobody listens"),
        lambda _: httpx.ReadTimeout("no answer"),
        busy,
        lambda _: httpx.Response(429, headers={"retry-after": "0"}),
    ]
    client = make(on_accepted=lambda events: ledger.extend(event["event_id"] for event in events))
    told = [client.convert(f"user-{number}", "purchase") for number in range(20)]
    assert client.flush(20_000)
    assert ledger == told
    assert {event["event_id"] for event in services.events()} == set(told)
    stats = client.stats()
    assert (stats.accepted, stats.rejected, stats.dropped, stats.queued) == (20, 0, 0, 0)
    assert stats.sent == len(services.events()) > 20
    assert "429" in stats.last_error


def test_partial_acceptance_is_exact(make: Maker, services: Services) -> None:
    """Of a batch with good, bad and unsent events, each is counted and told by its own outcome."""
    ledger: list[str] = []

    def mixed(events: list[dict[str, Any]]) -> Reply:
        rejected = [{"index": 0, "field": "name", "problem": "too long"}]
        return httpx.Response(503, json={"accepted": len(events) - 2, "rejected": rejected, "retry": [1]})

    services.script = [mixed]
    client = make(
        flush_interval_ms=60_000,
        on_accepted=lambda events: ledger.extend(event["event_id"] for event in events),
    )
    told = [client.convert("user-7", f"n{number}") for number in range(5)]
    assert client.flush()
    assert sorted(ledger) == sorted(told[1:])
    assert (client.stats().accepted, client.stats().rejected) == (4, 1)
    assert [event["event_id"] for event in services.batches[1]] == [told[1]]


def test_overflow_drops_counts_and_says(
    make: Maker, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """Past the bound of the queue events are dropped and counted; what was taken is delivered."""
    services.always = busy
    client = make(max_queue=10, max_batch=5)
    for number in range(100):
        client.convert(f"user-{number}", "purchase")
    stats = client.stats()
    assert stats.dropped >= 100 - 15
    assert stats.queued + stats.dropped == 100
    assert "dropped" in caplog.text
    services.always = accept
    assert client.flush(20_000)
    assert client.stats().accepted + client.stats().dropped == 100


def test_exposure_that_found_no_room_is_told_later(make: Maker, services: Services) -> None:
    """An exposure dropped for want of room is not remembered as told."""
    services.always = busy
    client = make(max_queue=1, max_batch=1)
    while client.stats().dropped == 0:
        client.convert("user-7", "fill")
    client.assign("user-7", "digits")
    services.always = accept
    assert client.flush(20_000)
    client.assign("user-7", "digits")
    assert client.flush()
    assert [event["type"] for event in services.events()].count("exposure") == 1


def test_close_during_an_outage_counts_what_is_lost(services: Services) -> None:
    """Closing while the gateway is down ends in time; what could not be sent is counted as dropped."""
    services.always = lambda _: httpx.ConnectError("nobody listens")
    client = Trimtab("http://gateway", "http://assignment", transport=services).start()
    for number in range(7):
        client.convert(f"user-{number}", "purchase")
    began = time.monotonic()
    assert not client.close(deadline_ms=200)
    assert time.monotonic() - began < 5
    until(lambda: client.stats().dropped == 7)
    client.convert("user-8", "too late")
    assert (client.stats().dropped, client.stats().queued) == (8, 0)


def test_batch_too_large_for_a_stricter_gateway_is_split(make: Maker, services: Services) -> None:
    """Where the gateway takes less than we send, the batch is halved until it passes."""

    def strict(events: list[dict[str, Any]]) -> Reply:
        return httpx.Response(413) if len(events) > 3 else accept(events)

    services.always = strict
    client = make(flush_interval_ms=60_000)
    for number in range(16):
        client.convert(f"user-{number}", "purchase")
    assert client.flush(20_000)
    assert client.stats().accepted == 16


def test_one_unit_holds_up_no_other(make: Maker, services: Services) -> None:
    """While the gateway cannot take the events of some units (one broker is away), it gets those of the
    others; when it can, it gets all."""
    away = True

    def partly(events: list[dict[str, Any]]) -> Reply:
        again = [place for place, event in enumerate(events) if away and event["unit_id"] == "user-0"]
        if not again:
            return accept(events)
        return httpx.Response(
            503, json={"accepted": len(events) - len(again), "rejected": [], "retry": again}
        )

    services.always = partly
    client = make(max_batch=4)
    for number in range(20):
        client.convert(f"user-{number}", "purchase")
    until(lambda: client.stats().accepted == 19)
    assert client.stats().queued == 1
    away = False
    assert client.flush(20_000)
    assert (client.stats().accepted, client.stats().dropped) == (20, 0)


def test_one_event_spoils_no_batch(make: Maker, services: Services) -> None:
    """Where one event makes the gateway refuse the whole batch, the others are accepted, soon and once; full
    batches come back afterwards."""
    accepted: list[str] = []

    def strict(events: list[dict[str, Any]]) -> Reply:
        if any(event["unit_id"] == "user-3" for event in events):
            return httpx.Response(400, json={"detail": "nested too deeply"})
        accepted.extend(event["unit_id"] for event in events)
        return accept(events)

    services.always = strict
    client = make(flush_interval_ms=60_000, max_batch=64)
    for number in range(64):
        client.convert(f"user-{number}", "purchase")
    assert client.flush(5_000)
    assert sorted(accepted) == sorted({f"user-{number}" for number in range(64)} - {"user-3"})
    stats = client.stats()
    assert (stats.accepted, stats.rejected, stats.dropped) == (63, 1, 0)
    for _ in range(64):
        for number in range(100, 164):
            client.convert(f"user-{number}", "purchase")
        assert client.flush(5_000)
    assert len(services.batches[-1]) == 64


@settings(max_examples=30, deadline=None)
@given(
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=12),
    told=st.integers(0, 40),
    max_queue=st.integers(1, 40),
    max_batch=st.integers(1, 10),
    patience_ms=st.sampled_from([1, 30_000]),
)
def test_every_event_has_one_end(
    outcomes: list[str], told: int, max_queue: int, max_batch: int, patience_ms: float
) -> None:
    """Whatever the gateway answers and whenever the client is closed, each event is accepted, rejected or
    dropped, and counted once; of those accepted `on_accepted` hears once."""
    services, heard = Services(), list[str]()
    services.script = [partial(answer, outcome) for outcome in outcomes]
    client = Trimtab(
        "http://gateway",
        "http://assignment",
        transport=services,
        flush_interval_ms=1,
        max_queue=max_queue,
        max_batch=max_batch,
        on_accepted=lambda events: heard.extend(event["event_id"] for event in events),
    ).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "MAX_BACKOFF_MS", 1.0)
        ids = [client.convert(f"user-{number}", "purchase") for number in range(told)]
        client.close(patience_ms)
        until(lambda: not client._delivery.running())
    stats = client.stats()
    assert (stats.queued, stats.accepted + stats.rejected + stats.dropped) == (0, told)
    assert len(heard) == len(set(heard)) == stats.accepted
    assert set(heard) <= set(ids)


def test_ledger_that_raises_stops_nothing(make: Maker, services: Services) -> None:
    """A callback that raises is logged; events go on being sent and counted."""

    def broken(_events: list[dict[str, Any]]) -> None:
        raise RuntimeError("disk full")

    client = make(on_accepted=broken)
    client.convert("user-1", "purchase")
    assert client.flush()
    client.convert("user-2", "purchase")
    assert client.flush()
    assert client.stats().accepted == 2
