"""The client against a gateway and an assignment service that run in this process."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from trimtab import Trimtab

Reply = httpx.Response | httpx.HTTPError
Script = Callable[[list[dict[str, Any]]], Reply]

RULES: dict[str, Any] = {
    "revision": 7,
    "experiments": [
        {
            "experiment_id": "digits-v2",
            "revision": 3,
            "closed": "",
            "salt": "digits-v2",
            "coverage": 1.0,
            "control": "champion",
            "defers_to": "",
            "variants": [
                {"key": "champion", "weight": 1.0, "model_version": "1", "payload": None},
                {"key": "challenger", "weight": 1.0, "model_version": "2", "payload": None},
            ],
        }
    ],
    "models": [{"model": "digits", "champion": "1", "experiment_id": "digits-v2"}],
}


def accept(events: list[dict[str, Any]]) -> Reply:
    """Accept everything."""
    return httpx.Response(202, json={"accepted": len(events), "rejected": []})


class Services(httpx.BaseTransport):
    """Both services, in memory: what arrived, and answers that a test may script."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.script: list[Script] = []
        self.always: Script = accept
        self.rules: dict[str, Any] | None = RULES
        self.rule_requests: list[str | None] = []
        self.lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as the two services do."""
        if request.url.path == "/v1/rules":
            return self._rules(request)
        assert request.url.path == "/v1/events"
        with self.lock:
            events = json.loads(request.read())["events"]
            self.batches.append(events)
            step = self.script.pop(0) if self.script else self.always
        reply = step(events)
        if isinstance(reply, httpx.HTTPError):
            raise reply
        return reply

    def _rules(self, request: httpx.Request) -> httpx.Response:
        known = request.headers.get("if-none-match")
        self.rule_requests.append(known)
        if self.rules is None:
            raise httpx.ConnectError("nobody listens")
        etag = f'"{self.rules["revision"]}"'
        if known == etag:
            return httpx.Response(304)
        return httpx.Response(200, json=self.rules, headers={"etag": etag})

    def events(self) -> list[dict[str, Any]]:
        """Return every event that arrived, repetitions included."""
        return [event for batch in self.batches for event in batch]


@pytest.fixture
def services() -> Services:
    """Return both services, up and well."""
    return Services()


Maker = Callable[..., Trimtab]


@pytest.fixture
def make(services: Services) -> Iterator[Maker]:
    """Return a maker of started clients, which are closed at the end."""
    made: list[Trimtab] = []

    def maker(**options: Any) -> Trimtab:
        settings = {"refresh_interval_ms": 20, "flush_interval_ms": 10} | options
        client = Trimtab("http://gateway", "http://assignment", transport=services, **settings)
        made.append(client)
        return client.start()

    yield maker
    services.always, services.script = accept, []
    for client in made:
        client.close()


def until(holds: Callable[[], bool]) -> None:
    """Wait for a state, at most ten seconds."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.002)


def busy(_events: list[dict[str, Any]]) -> Reply:
    """Answer 503 without outcomes."""
    return httpx.Response(503, text="busy")


def test_every_kind_of_event_arrives_whole(make: Maker, services: Services) -> None:
    """An exposure, a prediction, a conversion and feedback arrive with all their fields."""
    client = make()
    assignment = client.assign("user-7", "digits")
    prediction = client.predict(
        "user-7",
        model="digits",
        model_version="1",
        features={"p0": 0.5},
        output="3",
        confidence=0.9,
        latency_ms=1.5,
    )
    client.convert("user-7", "purchase", 19.9, attributes={"shop": "north"})
    client.feedback("user-7", prediction, model="digits", label="8")
    assert client.flush()
    by_type = {event["type"]: event for event in services.events()}
    assert by_type["exposure"]["experiment_id"] == "digits-v2"
    assert by_type["exposure"]["variant"] == assignment.variant
    assert by_type["exposure"]["revision"] == 3
    assert by_type["prediction"]["event_id"] == prediction == by_type["feedback"]["prediction_id"]
    assert by_type["prediction"]["features"] == {"p0": 0.5}
    assert by_type["conversion"]["value"] == 19.9
    assert by_type["feedback"]["label"] == "8"
    assert "rating" not in by_type["feedback"]
    assert len({event["event_id"] for event in services.events()}) == 4


def test_exposure_is_told_once(make: Maker, services: Services) -> None:
    """A unit is exposed once per experiment, however often and by whichever key it is assigned."""
    client = make()
    for _ in range(5):
        client.assign("user-7", "digits")
        client.assign("user-7", "digits-v2")
    client.assign("user-8", "digits")
    assert client.flush()
    assert sorted(event["unit_id"] for event in services.events()) == ["user-7", "user-8"]


def test_exposure_can_wait(make: Maker, services: Services) -> None:
    """With expose=False nothing is told until the unit really meets its variant."""
    client = make()
    assignment = client.assign("user-7", "digits", expose=False)
    assert client.flush()
    assert services.events() == []
    assert client.expose("user-7", assignment) is not None
    assert client.expose("user-7", assignment) is None
    assert client.flush()
    assert len(services.events()) == 1


def test_exposure_memory_is_bounded(make: Maker, services: Services) -> None:
    """Beyond its limit the memory forgets the oldest: it may be told again, which costs nothing."""
    client = make(max_exposures_remembered=2)
    for unit in ("a", "b", "c", "c", "a"):
        client.assign(unit, "digits")
    assert client.flush()
    assert [event["unit_id"] for event in services.events()] == ["a", "b", "c", "a"]


def test_assigning_touches_no_network(make: Maker, services: Services) -> None:
    """Assigning a thousand units asks the assignment service nothing."""
    client = make(refresh_interval_ms=60_000)
    asked = len(services.rule_requests)
    for number in range(1_000):
        client.assign(f"user-{number}", "digits", expose=False)
    assert len(services.rule_requests) == asked == 1


def test_rules_are_refreshed_by_etag(make: Maker, services: Services) -> None:
    """A new rule set is in force soon after it exists; an unchanged one is not sent again."""
    client = make()
    until(lambda: '"7"' in services.rule_requests)
    services.rules = {
        "revision": 8,
        "experiments": [],
        "models": [RULES["models"][0] | {"experiment_id": None}],
    }
    until(lambda: client.stats().rules_revision == 8)
    assert client.assign("user-7", "digits").reason == "champion"


def test_rules_outlive_their_source(make: Maker, services: Services) -> None:
    """When the assignment service is gone, the last rules stay in force, and their age and the error show."""
    client = make()
    services.rules = None
    until(lambda: client.stats().rules_error != "")
    assert client.assign("user-7", "digits").in_experiment
    first = client.stats().rules_age_ms
    assert first is not None
    until(lambda: (client.stats().rules_age_ms or 0.0) > first + 50)
    services.rules = RULES
    until(lambda: client.stats().rules_error == "")


def test_bad_rules_change_nothing(make: Maker, services: Services) -> None:
    """A document that is no rule set is noted, and the rules at hand stay."""
    client = make()
    services.rules = {"revision": 8, "experiments": "none"}
    until(lambda: "BadRules" in client.stats().rules_error)
    assert client.stats().rules_revision == 7


def test_without_rules_the_caller_decides(services: Services, make: Maker) -> None:
    """Before the first rule set, assign answers at once, with the reason; rules are taken when they come."""
    saved, services.rules = services.rules, None
    client = Trimtab("http://gateway", "http://assignment", transport=services, refresh_interval_ms=20)
    client.start(deadline_ms=30)
    assert client.assign("user-7", "digits").reason == "no_rules"
    services.rules = saved
    until(lambda: client.assign("user-7", "digits").in_experiment)
    assert client.close()


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


def test_close_sends_what_waits(services: Services) -> None:
    """Leaving the context sends everything that waits, without waiting for the interval."""
    with Trimtab(
        "http://gateway", "http://assignment", transport=services, flush_interval_ms=60_000
    ) as client:
        for number in range(1_234):
            client.convert(f"user-{number}", "purchase")
    assert client.stats().accepted == 1_234
    assert max(len(batch) for batch in services.batches) <= 500


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


def test_never_started_client_counts_as_dropped(services: Services) -> None:
    """A client that was never started refuses nothing, and says at close what was lost."""
    client = Trimtab("http://gateway", "http://assignment", transport=services)
    client.convert("user-7", "purchase")
    assert client.assign("user-7", "digits").reason == "no_rules"
    assert not client.close(deadline_ms=10)
    assert client.stats().dropped == 1


def test_what_is_not_json_is_rejected_alone(make: Maker, services: Services) -> None:
    """Events that cannot be written as JSON are rejected here; those around them arrive."""
    client = make(flush_interval_ms=60_000)
    client.convert("user-1", "purchase", float("nan"))
    client.convert("user-2", "purchase")
    client.predict("user-3", model="m", model_version="1", features={"x": object()}, output="1")
    client.predict("user-4", model="m", model_version="1", features=None, output="1")  # type: ignore[arg-type]
    client.predict("user-5", model="m", model_version="1", features={"x": "y" * 1_000_000}, output="1")
    assert client.flush()
    assert [event["unit_id"] for event in services.events()] == ["user-2", "user-4"]
    assert (client.stats().accepted, client.stats().rejected) == (2, 3)
    assert "bytes" in client.stats().last_error


def test_numbers_of_numpy_become_plain(make: Maker, services: Services) -> None:
    """Scalars of numpy travel as plain numbers."""
    numpy = pytest.importorskip("numpy")
    client = make()
    client.predict(
        "u", model="m", model_version="1", features={"x": numpy.float32(0.5)}, output=numpy.int64(3)
    )
    assert client.flush()
    assert services.events()[0]["features"] == {"x": 0.5}
    assert services.events()[0]["output"] == 3


def test_features_are_copied(make: Maker, services: Services) -> None:
    """Changing a mapping after telling it changes nothing that is sent."""
    client = make(flush_interval_ms=60_000)
    features = {"x": 1.0}
    client.predict("u", model="m", model_version="1", features=features, output="1")
    features["x"] = 2.0
    assert client.flush()
    assert services.events()[0]["features"] == {"x": 1.0}


def test_large_events_travel_in_smaller_batches(make: Maker, services: Services) -> None:
    """Batches stay under the gateway's limit of bytes as well as of events."""
    client = make(flush_interval_ms=60_000)
    for number in range(20):
        client.predict(
            f"user-{number}", model="m", model_version="1", features={"x": "y" * 200_000}, output="1"
        )
    assert client.flush()
    assert client.stats().accepted == 20
    assert max(len(batch) for batch in services.batches) == 4


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


@pytest.mark.parametrize(
    "options", [{"max_queue": 0}, {"max_batch": 1_001}, {"flush_interval_ms": 0}, {"request_timeout_ms": -1}]
)
def test_limits_are_checked_when_made(services: Services, options: dict[str, Any]) -> None:
    """Limits that cannot work are refused when the client is made, not later."""
    with pytest.raises(ValueError, match="positive"):
        Trimtab("http://gateway", "http://assignment", transport=services, **options)
