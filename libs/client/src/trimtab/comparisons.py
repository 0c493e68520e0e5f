"""Tests of one attribute's value, each made once from the operand of a condition. None raises.

They follow GrowthBook's: JSON types never mix, a list is met by any of its elements, and strings are ordered
by their UTF-16 units, as in JavaScript. Each maker raises ValueError for an operand that it cannot use.
"""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

Test = Callable[[Any], bool]
Compare = Callable[[Any, Any], bool]

# Tuples, because `int | float` is made anew at every test.
NUMBER: Final = (int, float)
LIST: Final = (list, tuple)
TYPES: Final = ("null", "boolean", "number", "string", "array", "object")


def type_of(value: Any) -> str:
    """Return the JSON type of a value; "" when it has none."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, NUMBER):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, LIST):
        return "array"
    return "object" if isinstance(value, Mapping) else ""


def same_as(wanted: Any) -> Test:
    """Return the test for a literal. Lists and objects are compared element by element, in their order."""
    if wanted is None or isinstance(wanted, bool):
        return lambda value: value is wanted
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and value == wanted
    if isinstance(wanted, NUMBER):
        return lambda value: (
            isinstance(value, NUMBER) and not isinstance(value, bool) and bool(value == wanted)
        )
    kept = deepcopy(wanted)
    return lambda value: _same(kept, value)


def _same(wanted: Any, value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        value = None  # as JSON would carry it
    kind = type_of(wanted)
    if kind != type_of(value):
        return False
    if kind == "array":
        return len(wanted) == len(value) and all(map(_same, wanted, value))
    if kind == "object":
        return (
            len(wanted) == len(value)
            and _in_order(wanted) == _in_order(value)
            and all(_same(each, value[name]) for name, each in wanted.items())
        )
    return bool(wanted == value)


def _in_order(thing: Mapping[Any, Any]) -> list[Any]:
    """Return the names in the order in which JavaScript would write them: whole numbers first."""
    numbers = {name for name in thing if isinstance(name, str) and _is_index(name)}
    return sorted(numbers, key=int) + [name for name in thing if name not in numbers]


def _is_index(name: str) -> bool:
    return (
        len(name) <= 10
        and name.isascii()
        and name.isdigit()
        and str(int(name)) == name
        and int(name) < 2**32 - 1
    )


def strictly_equal(wanted: Any) -> Test:
    """Return the test for one string, number, boolean or null."""
    return same_as(_scalar(wanted))


def _scalar(wanted: Any) -> Any:
    if isinstance(wanted, Mapping | list | tuple):
        raise ValueError("lists and objects are never equal here: write the literal without an operator")
    return wanted


def ordered(compare: Compare, wanted: Any) -> Test:
    """Return the test for a number or a string that lies on one side of `wanted`."""
    if isinstance(wanted, str):
        return _ordered_text(compare, wanted)
    if isinstance(wanted, bool) or not isinstance(wanted, NUMBER):
        raise ValueError(f"needs a number or a string, not {wanted!r:.50}")
    return lambda value: isinstance(value, NUMBER) and not isinstance(value, bool) and compare(value, wanted)


def _ordered_text(compare: Compare, wanted: str) -> Test:
    units, plain = _utf16(wanted), wanted.isascii()

    def check(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if plain and value.isascii():
            return compare(value, wanted)
        return compare(_utf16(value), units)

    return check


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")


def among(wanted: Any, *, any_case: bool = False, lists: bool = True) -> Test:
    """Return the test for one of `wanted`; with `lists`, a list passes by any of its elements."""
    fold = str.lower if any_case else _plain
    if not isinstance(wanted, LIST):
        raise ValueError(f"needs a list, not {wanted!r:.50}")
    values = [_scalar(each) for each in wanted]
    # True is 1 to a set, so booleans have their own.
    booleans = frozenset(each for each in values if isinstance(each, bool))
    texts = frozenset(fold(each) for each in values if isinstance(each, str))
    others = frozenset(each for each in values if not isinstance(each, bool | str))

    def one(value: Any) -> bool:
        if isinstance(value, str):
            return fold(value) in texts
        if isinstance(value, bool):
            return value in booleans
        return (value is None or isinstance(value, NUMBER)) and _plain(value) in others

    if not lists:
        return one
    return lambda value: any(map(one, value)) if isinstance(value, LIST) else one(value)


def _plain(value: Any) -> Any:
    """Return a text or a number as itself: the member of an enum would be looked up by its name."""
    if type(value) is str or not isinstance(value, str | int):
        return value
    return str.__str__(value) if isinstance(value, str) else int.__int__(value)


def exists(wanted: Any) -> Test:
    """Return the test for an attribute that is there and not null, or the opposite."""
    if not isinstance(wanted, bool | int):
        raise ValueError(f"needs true or false, not {wanted!r:.50}")
    return (lambda value: value is not None) if wanted else (lambda value: value is None)


def of_type(wanted: Any) -> Test:
    """Return the test for a JSON type."""
    if wanted not in TYPES:
        raise ValueError(f"needs one of {', '.join(TYPES)}, not {wanted!r:.50}")
    return lambda value: type_of(value) == wanted
