"""Builders of facts and records for the tests of drift."""

import json
from collections.abc import Callable, Mapping

import pytest

from libs.common.bus.ports import Record
from services.drift.domain.answers import Horizons
from services.drift.domain.partition import IngestLimits

T0 = 1_700_000_000_000

Make = Callable[..., Record]


def _record(topic: str, event: Mapping[str, object], offset: int, logged_at_ms: int) -> Record:
    return Record(topic, 0, offset, logged_at_ms, b"u", json.dumps(event).encode())


@pytest.fixture
def prediction() -> Make:
    """Return a maker of prediction records; times are milliseconds after T0."""

    def make(number: int, at_ms: int = 0, **changes: object) -> Record:
        event = {
            "type": "prediction",
            "event_id": f"p{number}",
            "occurred_at_ms": T0 + at_ms,
            "unit_id": f"u{number % 7}",
            "model": "digits",
            "model_version": "1",
            "features": {"x": float(number % 5)},
            "output": "a",
            **changes,
        }
        return _record("predictions", event, number, T0 + 10**9)

    return make


@pytest.fixture
def feedback() -> Make:
    """Return a maker of feedback records for prediction `number`."""

    def make(number: int, at_ms: int = 0, **changes: object) -> Record:
        event = {
            "type": "feedback",
            "event_id": f"f{number}",
            "occurred_at_ms": T0 + at_ms,
            "unit_id": f"u{number % 7}",
            "prediction_id": f"p{number}",
            "model": "digits",
            "label": "a",
            **changes,
        }
        return _record("feedback", event, number, T0 + 10**9)

    return make


@pytest.fixture
def limits() -> IngestLimits:
    """Return limits with windows of a second and a lateness of a minute."""
    return IngestLimits(
        window_ms=1_000,
        horizons=Horizons(late_ms=60_000, label_ms=120_000, answers=1_000),
        versions=3,
        versions_per_model=3,
        flush_interval_ms=0,
        flush_examples=100,
    )
