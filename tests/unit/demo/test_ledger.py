"""The demo's own books count what was accepted, independently of Trimtab."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.ledger import CONVERSION, ExperimentCount, Ledger, VersionCount


def exposure(event_id: str, unit_id: str, variant: str, at_ms: int) -> dict[str, Any]:
    return {
        "type": "exposure",
        "event_id": event_id,
        "unit_id": unit_id,
        "occurred_at_ms": at_ms,
        "experiment_id": "e",
        "variant": variant,
    }


def conversion(event_id: str, unit_id: str, at_ms: int, name: str = CONVERSION) -> dict[str, Any]:
    return {
        "type": "conversion",
        "event_id": event_id,
        "unit_id": unit_id,
        "occurred_at_ms": at_ms,
        "name": name,
        "value": 1.0,
    }


def test_conversions_count_from_the_first_exposure_on() -> None:
    """Before the exposure does not count, at the same time does, another name never."""
    ledger = Ledger()
    ledger.accepted([conversion("c0", "u", 9), conversion("c1", "u", 10), conversion("c2", "u", 11, "other")])
    ledger.accepted([exposure("x1", "u", "challenger", 10), exposure("x2", "u", "challenger", 20)])
    assert ledger.experiment("e") == {"challenger": ExperimentCount(units=1, exposures=2, conversions=1)}


def test_a_repeated_event_counts_once() -> None:
    """The same event id twice is one event."""
    ledger = Ledger()
    for _ in range(3):
        ledger.accepted([exposure("x1", "u", "champion", 1), conversion("c1", "u", 2)])
    assert ledger.events() == 2
    assert ledger.experiment("e")["champion"] == ExperimentCount(1, 1, 1)


def test_labels_belong_to_the_version_that_predicted() -> None:
    """Predictions and their labels are counted per version, in either order of arrival."""
    ledger = Ledger()
    prediction = {"type": "prediction", "event_id": "p1", "unit_id": "u", "model_version": "3"}
    feedback = {"type": "feedback", "event_id": "f1", "unit_id": "u", "prediction_id": "p1"}
    ledger.accepted([feedback])
    ledger.accepted([prediction, {**prediction, "event_id": "p2", "model_version": "1"}])
    assert ledger.versions() == {"1": VersionCount(1, 0), "3": VersionCount(1, 1)}


@given(
    st.permutations([exposure(f"x{i}", f"u{i % 3}", "a", i) for i in range(6)] + [conversion("c", "u1", 4)])
)
def test_order_of_acceptance_does_not_matter(events: list[dict[str, Any]]) -> None:
    """Batches arrive in any order; the counts are the same."""
    ledger = Ledger()
    for event in events:
        ledger.accepted([event])
    assert ledger.experiment("e") == {"a": ExperimentCount(units=3, exposures=6, conversions=1)}
