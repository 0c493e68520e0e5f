"""The traffic program's own books: what it sent and the gateway accepted, counted independently.

Nothing here is shared with Trimtab's services: the closing table holds their counts against these.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CONVERSION = "accepted"


@dataclass(frozen=True, slots=True)
class ExperimentCount:
    """One variant's share of an experiment, by the books."""

    units: int
    exposures: int
    conversions: int


@dataclass(frozen=True, slots=True)
class VersionCount:
    """One model version's share of the traffic, by the books."""

    predictions: int
    labelled: int


class Ledger:
    """Counts accepted events by `event_id`, so that a repeated answer counts once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._exposures: dict[str, list[tuple[str, int, str, str]]] = defaultdict(list)
        self._conversions: dict[str, list[int]] = defaultdict(list)
        self._version_of: dict[str, str] = {}
        self._labelled: set[str] = set()

    def accepted(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Enter events that the gateway has acknowledged."""
        with self._lock:
            for event in events:
                if event["event_id"] not in self._seen:
                    self._seen.add(event["event_id"])
                    self._enter(event)

    def _enter(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "exposure":
                self._exposures[event["experiment_id"]].append(
                    (event["unit_id"], event["occurred_at_ms"], event["event_id"], event["variant"])
                )
            case "prediction":
                self._version_of[event["event_id"]] = event["model_version"]
            case "feedback":
                self._labelled.add(event["prediction_id"])
            case "conversion" if event["name"] == CONVERSION:
                self._conversions[event["unit_id"]].append(event["occurred_at_ms"])

    def events(self) -> int:
        """Return how many events were accepted in all."""
        with self._lock:
            return len(self._seen)

    def experiment(self, experiment_id: str) -> dict[str, ExperimentCount]:
        """Return the counts per variant: a unit belongs to the variant of its first exposure, and its
        conversions count from that exposure on."""
        with self._lock:
            exposures = sorted(self._exposures[experiment_id], key=lambda each: (each[1], each[2]))
            first: dict[str, tuple[int, str]] = {}
            shown: dict[str, int] = defaultdict(int)
            for unit_id, occurred_at_ms, _, variant in exposures:
                first.setdefault(unit_id, (occurred_at_ms, variant))
                shown[variant] += 1
            units: dict[str, int] = defaultdict(int)
            conversions: dict[str, int] = defaultdict(int)
            for unit_id, (since_ms, variant) in first.items():
                units[variant] += 1
                conversions[variant] += sum(at_ms >= since_ms for at_ms in self._conversions[unit_id])
        return {
            variant: ExperimentCount(units[variant], shown[variant], conversions[variant])
            for variant in sorted(units)
        }

    def versions(self) -> dict[str, VersionCount]:
        """Return the counts per model version."""
        with self._lock:
            predictions: dict[str, int] = defaultdict(int)
            labelled: dict[str, int] = defaultdict(int)
            for prediction_id, version in self._version_of.items():
                predictions[version] += 1
                labelled[version] += prediction_id in self._labelled
        return {
            version: VersionCount(predictions[version], labelled[version]) for version in sorted(predictions)
        }
