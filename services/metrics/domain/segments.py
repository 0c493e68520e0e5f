"""Where a unit belongs in the breakdowns of an experiment: one whole number for all of them together.

Per breakdown a digit: 0 the attribute is missing, 1 its value is not one of those named, 2 the first of
these, and so on; the first breakdown is the lowest digit.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from schemas.experiments import MAX_NAMED, Breakdown


class SegmentKind(StrEnum):
    """Which units a segment holds: with a value that the definition names, with another, with none."""

    VALUE = "value"
    OTHER = "other"
    MISSING = "missing"


BASE = MAX_NAMED + 2
_MISSING, _OTHER, _FIRST = 0, 1, 2

Attribute = str | bool | float


def text_of(value: Attribute) -> str:
    """Return the text by which a definition names this value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else repr(float(value))


def segment_of(breakdowns: Sequence[Breakdown], attributes: Mapping[str, Attribute]) -> int:
    """Return the segment of a unit whose first exposure has these attributes."""
    segment = 0
    for breakdown in reversed(breakdowns):
        digit = _MISSING
        if (value := attributes.get(breakdown.attribute)) is not None:
            text = text_of(value)
            digit = _FIRST + breakdown.values.index(text) if text in breakdown.values else _OTHER
        segment = segment * BASE + digit
    return segment


def digits(segment: int, breakdowns: int) -> list[int]:
    """Return the digit of each of so many breakdowns."""
    found = []
    for _ in range(breakdowns):
        segment, digit = divmod(segment, BASE)
        found.append(digit)
    return found


def meaning(breakdown: Breakdown, digit: int) -> tuple[SegmentKind, str]:
    """Return what a digit says."""
    if digit >= _FIRST:
        return SegmentKind.VALUE, breakdown.values[digit - _FIRST]
    return (SegmentKind.OTHER if digit == _OTHER else SegmentKind.MISSING), ""
