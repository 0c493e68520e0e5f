"""What a unit is called, and which of its attributes an event may carry: as the gateway accepts them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_ID_CHARS = 256
MAX_ATTRIBUTES = 32
MAX_NUMBER = 1e12
_REFUSED = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def is_unit_id(unit_id: object) -> bool:
    """True for a string of 1 to 256 characters without control characters (or halves of characters)."""
    if not isinstance(unit_id, str) or not 0 < len(unit_id) <= MAX_ID_CHARS:
        return False
    # isprintable is ten times as fast, and right for almost every id; it refuses some harmless characters.
    return unit_id.isprintable() or _REFUSED.search(unit_id) is None


def told(attributes: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, Any], int]:
    """Return those of the named attributes that an event may carry, and how many it may not.

    A flag, a finite number up to 1e12 or a text of up to 256 characters may travel; what is missing or
    None was not given. Never raises, whatever the values are.
    """
    kept: dict[str, Any] = {}
    left_out = 0
    for name in names:
        value = attributes.get(name)
        if value is None:
            continue
        plain = _plain(value)
        if plain is None or len(kept) == MAX_ATTRIBUTES:
            left_out += 1
        else:
            kept[name] = plain
    return kept, left_out


def _plain(value: Any) -> bool | int | float | str | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) <= MAX_NUMBER else None  # False for NaN
    if isinstance(value, str):
        fits = len(value) <= MAX_ID_CHARS and (value.isprintable() or value.isascii() or _whole(value))
        return str(value) if fits else None
    return _of_array_library(value)


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character: no UTF-8
        return False
    return True


def _of_array_library(value: Any) -> bool | int | float | str | None:
    """Numbers of numpy and its kin know how to become Python's own."""
    try:
        plain = value.item()
    except Exception:  # noqa: BLE001 - a stranger's code: whatever it raises, the value cannot travel
        return None
    return _plain(plain) if isinstance(plain, bool | int | float | str) else None
