"""What a client tells: exposures, predictions, conversions, feedback. It only queues, and raises nothing."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from trimtab import events
from trimtab.assignments import FAILED, Assignment
from trimtab.buffer import Memory
from trimtab.delivery import Delivery
from trimtab.stats import Tally
from trimtab.units import is_unit_id, told

log = logging.getLogger("trimtab")


class Telling:
    """The verbs that tell something. What cannot be told is counted."""

    def __init__(self, delivery: Delivery, max_exposures_remembered: int) -> None:
        self._delivery = delivery
        self._exposed: Memory[bool] = Memory(max_exposures_remembered)
        self._tally = Tally()

    def expose(
        self, unit_id: str, assignment: Assignment, *, attributes: Mapping[str, Any] | None = None
    ) -> str | None:
        """Tell that a unit met its variant. Returns the event's id; None when there is nothing new to tell:
        the unit takes no part, was exposed before, or the queue is full (then the next call tells it).

        Of the attributes the event carries those that the experiment asks for (`assignment.attributes`).
        """
        try:
            if not assignment.in_experiment or not is_unit_id(unit_id):
                return None
            return self._expose(unit_id, assignment, attributes)
        except Exception:  # noqa: BLE001 - logged and counted
            self._failed("expose")
            return None

    def predict(  # noqa: PLR0913 - the fields of the event, all named
        self,
        unit_id: str,
        *,
        model: str,
        model_version: str,
        features: Mapping[str, Any],
        output: float | str,
        confidence: float | None = None,
        latency_ms: float | None = None,
    ) -> str:
        """Tell one answer of a model. Returns its event id, which `feedback` refers to."""
        return self._tell(
            events.prediction,
            unit_id,
            model=model,
            model_version=model_version,
            features=features,
            output=output,
            confidence=confidence,
            latency_ms=latency_ms,
        )

    def convert(
        self, unit_id: str, name: str, value: float = 1.0, *, attributes: Mapping[str, Any] | None = None
    ) -> str:
        """Tell that a unit did something that is counted. Returns the event's id.

        Attributes that cannot travel are left out, and counted: the conversion counts all the same.
        """
        return self._tell(self._conversion, unit_id, name=name, value=value, attributes=attributes)

    def feedback(
        self,
        unit_id: str,
        prediction_id: str,
        *,
        model: str,
        label: float | str | None = None,
        rating: float | None = None,
    ) -> str:
        """Tell the truth about a prediction (`label`) or an opinion (`rating`). Returns the event id."""
        return self._tell(
            events.feedback, unit_id, prediction_id=prediction_id, model=model, label=label, rating=rating
        )

    def _expose(
        self, unit_id: str, assignment: Assignment, attributes: Mapping[str, Any] | None
    ) -> str | None:
        pair = (str(assignment.experiment_id), unit_id)
        if self._exposed.get(pair):
            return None
        carried: Mapping[str, Any] | None = None
        if attributes and assignment.attributes:
            carried, left_out = told(attributes, assignment.attributes)
            self._tally.add("attributes_left_out", left_out)
        event = events.exposure(unit_id, assignment, carried or None)
        # Known only now: attributes that cannot be read have raised, and the next call may tell it.
        if not self._exposed.add(pair, True):
            return None
        if self._delivery.put(event):
            return str(event["event_id"])
        self._exposed.discard(pair)
        return None

    def _conversion(
        self, unit_id: str, name: str, value: float, attributes: Mapping[str, Any] | None
    ) -> events.Event:
        carried: Mapping[str, Any] | None = None
        if attributes:
            carried, left_out = told(attributes, list(attributes))
            self._tally.add("attributes_left_out", left_out)
        return events.conversion(unit_id, name, value, carried or None)

    def _tell(self, make: Callable[..., events.Event], unit_id: str, **fields: Any) -> str:
        """Queue an event. What can never be sent is counted as rejected, and has an id all the same."""
        try:
            if is_unit_id(unit_id):
                event = make(unit_id, **fields)
                self._delivery.put(event)
                return str(event["event_id"])
            problem = "unit_id: must be a string of 1 to 256 characters without control characters"
        except Exception as error:  # noqa: BLE001 - a stranger's mapping: whatever it raises, this event alone is lost
            problem = f"the event cannot be written: {type(error).__name__}: {error}"
        self._delivery.refuse(problem)
        return events.new_id()

    def _failed(self, verb: str, key: str = "") -> Assignment:
        failures = self._tally.add("assign_errors")
        if failures & (failures - 1) == 0:  # at 1, 2, 4, 8, ...: said, without a flood
            log.exception("trimtab: %s could not use what it was given (%d times so far)", verb, failures)
        return Assignment(key if isinstance(key, str) else "", reason=FAILED)
