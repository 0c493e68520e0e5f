"""A question to the assignment service about one unit, and what its answer means. No I/O."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.answers import retry_after_ms
from trimtab.assignments import FAILED, UNREACHABLE, Assignment

MAX_ANSWER_BYTES = 1_000_000
_KEY = re.compile(r"(?!\.+$)[A-Za-z0-9_.\-]{1,128}")
_OK, _MISUNDERSTOOD = 200, frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True)
class Question:
    """One POST /v1/assignments/{key}."""

    key: str
    url: str
    body: bytes


def is_key(key: str) -> bool:
    """True for what may be an experiment's id or a model's name, and can stand in a path."""
    return _KEY.fullmatch(key) is not None


def ask_for(
    base_url: str, key: str, unit_id: str, attributes: Mapping[str, Any], *, expose: bool
) -> Question:
    """Return the question. Attributes that have no JSON form are left out: they fulfil no condition."""
    document: dict[str, Any] = {"unit_id": unit_id, "attributes": _writable(attributes)}
    if not expose:
        document["expose"] = False
    return Question(key, f"{base_url}/{key}", json.dumps(document).encode())


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question."""

    assignment: Assignment
    error: str = ""
    outage: bool = False
    """True: the service is down or overloaded, and must be left alone for a while."""
    retry_after_ms: float | None = None
    """For how long it asks to be left alone."""


def unreachable(key: str, error: str, retry_after_ms: float | None = None) -> Reply:
    """Return the reply where there is none: the caller's own default applies."""
    return Reply(Assignment(key, reason=UNREACHABLE), error, outage=True, retry_after_ms=retry_after_ms)


def read_reply(key: str, status: int, body: bytes, retry_after: str | None) -> Reply:
    """Return what the service's answer means. Raises nothing; what cannot be read counts as an outage."""
    if status == _OK:
        try:
            return Reply(_assignment(json.loads(body)))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            return unreachable(key, f"the answer is no assignment: {type(error).__name__}: {error}")
    said = f"the assignment service answered {status}: {body[:200].decode(errors='replace')}"
    if status in _MISUNDERSTOOD:  # this question is at fault, the service is well
        return Reply(Assignment(key, reason=FAILED), said)
    return unreachable(key, said, retry_after_ms(retry_after))


def _assignment(document: Mapping[str, Any]) -> Assignment:
    """Read an assignment; fields that a newer service adds are passed over."""
    return Assignment(
        key=str(document["key"]),
        variant=document.get("variant"),
        model_version=document.get("model_version"),
        payload=document.get("payload"),
        experiment_id=document.get("experiment_id"),
        revision=int(document.get("revision") or 0),
        in_experiment=bool(document.get("in_experiment", False)),
        reason=str(document["reason"]),
        value=document.get("value"),
        shadows=tuple(document.get("shadows") or ()),
        attributes=tuple(document.get("attributes") or ()),
    )


def _writable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in attributes.items() if _has_json(value)}


def _has_json(value: Any) -> bool:
    if value is None or isinstance(value, str | bool):
        return True
    try:
        json.dumps(value, allow_nan=False)
    except Exception:  # noqa: BLE001 - a stranger's object may raise anything
        return False
    return True
