"""Telling what happened: every event arrives whole."""

import pytest

from tests.unit.client.services import Maker, Services
from trimtab import Trimtab


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


def test_close_sends_what_waits(services: Services) -> None:
    """Leaving the context sends everything that waits, without waiting for the interval."""
    with Trimtab(
        "http://gateway", "http://assignment", transport=services, flush_interval_ms=60_000
    ) as client:
        for number in range(1_234):
            client.convert(f"user-{number}", "purchase")
    assert client.stats().accepted == 1_234
    assert max(len(batch) for batch in services.batches) <= 500


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
