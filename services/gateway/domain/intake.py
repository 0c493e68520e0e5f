"""Which events of a batch are acceptable, and what is wrong with the others."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from libs.common.errors import Refused
from schemas.decode import Malformed, check_time, first_problem
from schemas.facts import AnyFact, Conversion, Exposure, Feedback, Prediction
from schemas.topics import TOPICS

_FACT: TypeAdapter[Exposure | Prediction | Conversion | Feedback] = TypeAdapter(AnyFact)
_TOPIC_OF = {kind: topic.name for topic in TOPICS.values() for kind in topic.carries}
MAX_DIGITS = 400
_TYPES = ("exposure", "prediction", "conversion", "feedback")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the event at `index` was not accepted; `field` is a dotted path, "" for the whole event."""

    index: int
    field: str
    problem: str


@dataclass(frozen=True, slots=True)
class Acceptable:
    """An event that may go onto the bus, as the canonical record."""

    index: int
    topic: str
    unit_id: str
    value: bytes


def parse_body(body: bytes) -> object:
    """Return the JSON value of a request. Raises Refused when it is not JSON.

    `NaN`, `Infinity`, lone surrogates, bytes that are no UTF-8 and numbers of any length are let through
    here, so that the event that holds one can be named and the rest of the batch accepted.
    """
    try:
        return from_json(body, allow_inf_nan=True)
    except ValueError:
        pass  # jiter is strict about them; the standard library need not be.
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"), parse_int=_parse_int)
    except RecursionError as error:
        raise Refused("the body is nested too deeply", field="body") from error
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}", field="body") from error


def _parse_int(digits: str) -> int | float:
    # Longer ones are refused by every field, but Python would not even read them (4,300 digits).
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def sort_batch(events: Sequence[object], now_ms: int) -> tuple[list[Acceptable], list[Problem]]:
    """Return what may go onto the bus and what may not; every index is in exactly one of the two."""
    acceptable: list[Acceptable] = []
    problems: list[Problem] = []
    for index, event in enumerate(events):
        try:
            acceptable.append(_check(index, event, now_ms))
        except Malformed as error:
            problems.append(Problem(index, error.field, error.problem))
    return acceptable, problems


def _check(index: int, event: object, now_ms: int) -> Acceptable:
    if not isinstance(event, dict):
        raise Malformed("", "an event is a JSON object")
    if event.get("type") not in _TYPES:
        raise Malformed("type", f"must be one of {', '.join(_TYPES)}")
    try:
        fact = _FACT.validate_python(event)
    except ValidationError as error:
        raise first_problem(error, lambda: event) from error
    check_time(fact, now_ms)
    return Acceptable(index, _TOPIC_OF[type(fact)], fact.unit_id, fact.to_json())
