"""From events to request bodies within the gateway's limits."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.events import Event

MAX_BODY_BYTES = 900_000
"""The gateway takes a million."""
_FRAME_BYTES = len(b'{"events":[]}')


@dataclass(frozen=True, slots=True)
class Packed:
    """One event and the bytes it travels as: a repetition is the same to the last byte."""

    event: Event
    data: bytes


class Unsendable(ValueError):
    """An event that no request can carry."""


def pack(event: Event) -> Packed:
    """Return the event with its bytes. Raises Unsendable: not JSON, not finite, or too large."""
    try:
        data = json.dumps(event, separators=(",", ":"), allow_nan=False, default=_plain).encode()
    except Exception as error:  # also RuntimeError, where the caller changes a list while it is written
        raise Unsendable(f"the event cannot be written as JSON: {error}") from error
    if len(data) + _FRAME_BYTES > MAX_BODY_BYTES:
        raise Unsendable(f"the event takes {len(data)} bytes; {MAX_BODY_BYTES} is the limit")
    return Packed(event, data)


def _plain(value: Any) -> Any:
    # Scalars and arrays of numpy know how to become Python's own; we need not depend on numpy for it.
    try:
        return value.tolist()
    except Exception as error:  # a stranger's code: whatever it raises, this event alone is unsendable
        raise TypeError(f"{type(value).__name__} has no JSON form") from error


def fitting(waiting: Sequence[Packed], max_events: int) -> int:
    """Return how many from the front fit into one request: at least one where any waits."""
    size = _FRAME_BYTES
    for count, packed in enumerate(waiting[:max_events]):
        size += len(packed.data) + 1
        if size > MAX_BODY_BYTES and count:
            return count
    return min(len(waiting), max_events)


def body(batch: Sequence[Packed]) -> bytes:
    """Return the request body of a batch."""
    return b'{"events":[' + b",".join(packed.data for packed in batch) + b"]}"
