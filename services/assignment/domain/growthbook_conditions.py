"""Conditions spelled out, so that every SDK of GrowthBook means by them what `trimtab.conditions` does.

The SDKs differ among themselves. For JavaScript a missing attribute is less than 20, "1" is 1, a missing name
matches the pattern `null`, and `$notRegex` is unknown and never holds; for Python none of this is so, and
with us neither. Written with the type beside the comparison, with `$eq` for literals and `$not` for what
negates, the same condition means the same to all.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import JsonValue

Json = dict[str, JsonValue]

NEVER: Json = {"$in": []}

_JOINS = ("$and", "$or", "$nor")
_ORDERED = ("$lt", "$lte", "$gt", "$gte")
_OF_STRINGS = ("$regex", "$regexi", "$vlt", "$vlte", "$vgt", "$vgte", "$veq")
_NEGATED = {"$notRegex": "$regex", "$notRegexi": "$regexi", "$vne": "$veq"}


def spelled_out(condition: Mapping[str, Any]) -> Json:
    """Return a condition that `compile_condition` takes and that holds for the same attributes."""
    plain: Json = {}
    more: list[JsonValue] = []
    for name, operand in condition.items():
        if name in _JOINS:
            plain[name] = [spelled_out(each) for each in operand]
        elif name == "$not":
            plain[name] = spelled_out(operand)
        else:
            plain[name], *others = _tests(operand)
            more += [{name: each} for each in others]
    if not more:
        return plain
    return {"$and": [plain, *more]}


def _tests(operand: Any) -> list[JsonValue]:
    """Return what a value must fulfil, all of it: as few operator objects as their names allow."""
    if not isinstance(operand, Mapping):
        return [_literal(operand)]
    if not any(name.startswith("$") for name in operand):
        return [dict(operand)]
    return list(_merged(_operator(name, each) for name, each in operand.items()))


def _literal(operand: Any) -> JsonValue:
    """Return a literal. `$eq` is strict everywhere; lists and null are compared strictly as they are."""
    if isinstance(operand, list | tuple):
        return list(operand)
    return None if operand is None else {"$eq": operand}


def _merged(tests: Iterable[Json]) -> Iterable[JsonValue]:
    merged: Json = {}
    for test in tests:
        if any(name in merged and merged[name] != each for name, each in test.items()):
            if "$type" in test and "$type" in merged:  # of two types at once is nothing
                merged |= NEVER
                continue
            yield merged
            merged = {}
        merged |= test
    yield merged


def _operator(name: str, operand: Any) -> Json:
    """Return one operator, with what it takes for granted."""
    if name in _ORDERED:
        return {"$type": "string" if isinstance(operand, str) else "number", name: operand}
    if name in _OF_STRINGS:
        return {"$type": "string", name: operand}
    if name in _NEGATED:
        return {"$not": {"$type": "string", _NEGATED[name]: operand}}
    if name in ("$not", "$size"):
        return {name: _nested(operand)}
    if name == "$elemMatch":
        return {name: _nested(operand) if _of_operators(operand) else spelled_out(operand)}
    if name == "$all":
        return {name: [_nested(each) for each in operand]}
    if name == "$alli":
        return {name: [{"$ini": [each]} if isinstance(each, str) else _nested(each) for each in operand]}
    return {name: operand}


def _nested(operand: Any) -> JsonValue:
    """Return what one value must fulfil as one object; as it was where that cannot be said."""
    test, *others = _tests(operand)
    return dict(operand) if others else test


def _of_operators(operand: Any) -> bool:
    return isinstance(operand, Mapping) and all(
        name.startswith("$") and name not in _JOINS for name in operand
    )
