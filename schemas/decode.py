"""From bytes to an event and back, with errors that name the field."""

from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from schemas.event import Contract
from schemas.names import MAX_AHEAD_MS
from schemas.topics import TOPICS

MAX_PLACE_CHARS = 300


class Malformed(ValueError):
    """A record that is not an event of its topic. `field` is a dotted path, `""` for the whole."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


def first_problem(error: ValidationError, event: Callable[[], object]) -> Malformed:
    """Return the first problem that pydantic found in `event` (parsed JSON, where it is needed) as a field
    and a sentence."""
    details = error.errors(include_url=False, include_input=False)
    # A wrong type explains every missing field, so it is named first.
    detail = next((each for each in details if each["loc"][-1:] == ("type",)), details[0])
    if detail["type"].startswith("union_tag"):
        return Malformed("type", detail["msg"])
    if not detail["loc"]:
        return Malformed("", detail["msg"])
    return Malformed(_place(detail["loc"], event(), missing=detail["type"] == "missing"), detail["msg"])


def _place(steps: tuple[int | str, ...], event: object, *, missing: bool) -> str:
    """Return the dotted path of `steps`, without the names of union members that pydantic puts in."""
    path: list[str] = []
    here = event
    for number, step in enumerate(steps, 1):
        known = here if isinstance(here, dict) else dict(enumerate(here)) if isinstance(here, list) else {}
        if step in known:
            here = known[step]
        elif not (missing and number == len(steps)):
            continue
        path.append(str(step))
    return ".".join(path)[:MAX_PLACE_CHARS]


@cache
def _adapter(topic: str) -> TypeAdapter[Contract]:
    carries = TOPICS[topic].carries
    if len(carries) == 1:
        return TypeAdapter(carries[0])
    # mypy knows no union that is made at run time.
    union: Any = Annotated[Union[carries], Field(discriminator="type")]  # noqa: UP007
    return TypeAdapter(union)


def decode(topic: str, value: bytes | None, now_ms: int) -> Contract:
    """Return the event in a record of `topic`.

    Raises Malformed when it does not parse, breaks a limit, or lies more than a day after `now_ms`.
    """
    if value is None:
        raise Malformed("", "the record has no value")
    try:
        event = _adapter(topic).validate_json(value)
    except ValidationError as error:
        raise first_problem(error, partial(_parsed, value)) from error
    check_time(event, now_ms)
    return event


def _parsed(value: bytes) -> object:
    try:
        parsed: object = from_json(value)
    except ValueError:
        return None  # no JSON at all: there is no field to name
    return parsed


def check_time(event: Contract, now_ms: int) -> None:
    """Raise Malformed when the event's time lies more than a day after `now_ms`."""
    occurred_at_ms = getattr(event, "occurred_at_ms", None)
    if occurred_at_ms is not None and occurred_at_ms > now_ms + MAX_AHEAD_MS:
        raise Malformed("occurred_at_ms", "lies more than a day in the future; are these milliseconds?")
