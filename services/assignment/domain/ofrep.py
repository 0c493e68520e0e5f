"""Assignments in the words of OFREP, OpenFeature's protocol of remote evaluation, version 0.3.0.

The clients that are shipped are stricter than the protocol: they want `value`, `variant` and `reason` always,
no reason that OpenFeature does not list, and metadata of strings, numbers and booleans only.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue

from trimtab.assignments import (
    ASSIGNED,
    CHAMPION,
    EXCLUDED,
    FLAG,
    FORCED,
    HELD_OUT,
    NOT_EXPOSED,
    NOT_TARGETED,
    OUTSIDE,
    PAUSED,
    QUARANTINED,
    SETTLED,
    SHADOW,
    UNKNOWN,
    UNSUPPORTED,
    Assignment,
)

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ASSIGNED: "SPLIT",
        FLAG: "SPLIT",
        FORCED: "TARGETING_MATCH",
        OUTSIDE: "DEFAULT",
        NOT_TARGETED: "DEFAULT",
        EXCLUDED: "DEFAULT",
        HELD_OUT: "DEFAULT",
        NOT_EXPOSED: "DEFAULT",
        SHADOW: "DEFAULT",
        PAUSED: "DISABLED",
        QUARANTINED: "DISABLED",
        UNSUPPORTED: "DISABLED",
        SETTLED: "STATIC",
        CHAMPION: "STATIC",
    }
)
"""Ours to OpenFeature's. Ours stands in the metadata as well."""

GENERAL: Final = "GENERAL"
PARSE_ERROR: Final = "PARSE_ERROR"
INVALID_CONTEXT: Final = "INVALID_CONTEXT"
TARGETING_KEY_MISSING: Final = "TARGETING_KEY_MISSING"
FLAG_NOT_FOUND: Final = "FLAG_NOT_FOUND"

Document = dict[str, JsonValue]


def success(assignment: Assignment, *, exposed: bool) -> bytes:
    """Return the JSON of a flag's evaluation. `exposed`: the bus has its exposure.

    A model without a champion has no `value`: the caller's code default applies, as the protocol has it.
    """
    document: Document = {"key": assignment.key}
    if assignment.value is None:
        document |= {"reason": "DEFAULT", "variant": assignment.variant or ""}
    else:
        document |= {
            "value": assignment.value,
            "reason": REASONS.get(assignment.reason, "UNKNOWN"),
            "variant": assignment.variant or CHAMPION,
        }
    return _encoded(document | {"metadata": _metadata(assignment, exposed)})


def failure(code: str, details: str, *, key: str | None = None) -> bytes:
    """Return the JSON of an error, of one flag where `key` is given."""
    document: Document = {} if key is None else {"key": key}
    return _encoded(document | {"errorCode": code, "errorDetails": details})


def is_flag(assignment: Assignment) -> bool:
    """Return False when neither an experiment nor a model has the key that was asked for."""
    return assignment.reason != UNKNOWN


def _metadata(assignment: Assignment, exposed: bool) -> Document:
    """Return what a client's hook needs to tell the exposure by itself: primitive values, lists as JSON."""
    found: Document = {"reason": assignment.reason, "in_experiment": assignment.in_experiment}
    if assignment.experiment_id is not None:
        found |= {"experiment_id": assignment.experiment_id, "revision": assignment.revision}
    if assignment.model_version is not None:
        found["model_version"] = assignment.model_version
    if assignment.in_experiment:
        found |= {"exposed": exposed, "attributes": _text(list(assignment.attributes))}
    if assignment.shadows:
        found["shadows"] = _text(list(assignment.shadows))
    return found


def _encoded(document: Document) -> bytes:
    return _text(document).encode()


def _text(value: JsonValue) -> str:
    # Python writes a float with its point, which clients that know integers from floats go by.
    return json.dumps(value, separators=(",", ":"))
