"""The facts that a production service tells, as the gateway takes them (JSON objects)."""

import secrets
from collections.abc import Mapping
from typing import Any

from trimtab.assignments import Assignment
from trimtab.clock import now_ms

Event = dict[str, Any]


def new_id() -> str:
    """Return a fresh UUID of version 7 (RFC 9562): sortable by time, 74 random bits."""
    value = (now_ms() & ((1 << 48) - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _fact(kind: str, unit_id: str, **fields: Any) -> Event:
    fact = {"type": kind, "event_id": new_id(), "occurred_at_ms": now_ms(), "unit_id": unit_id}
    # What is None was not given. Mappings are copied: the caller may change theirs before it is sent.
    for name, value in fields.items():
        if value is not None:
            fact[name] = dict(value) if isinstance(value, Mapping) else value
    return fact


def exposure(unit_id: str, assignment: Assignment, attributes: Mapping[str, Any] | None) -> Event:
    """Return the fact that a unit met the variant of an assignment."""
    return _fact(
        "exposure",
        unit_id,
        experiment_id=assignment.experiment_id,
        variant=assignment.variant,
        revision=assignment.revision,
        attributes=attributes,
    )


def prediction(unit_id: str, **fields: Any) -> Event:
    """Return the fact that a model answered."""
    return _fact("prediction", unit_id, **fields)


def conversion(unit_id: str, name: str, value: float, attributes: Mapping[str, Any] | None) -> Event:
    """Return the fact that a unit did something that is counted."""
    return _fact("conversion", unit_id, name=name, value=value, attributes=attributes)


def feedback(unit_id: str, **fields: Any) -> Event:
    """Return the truth or an opinion about one prediction."""
    return _fact("feedback", unit_id, **fields)
