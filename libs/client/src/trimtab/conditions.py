"""Targeting: conditions on a unit's attributes, in GrowthBook's syntax, which is MongoDB's.

    {"country": {"$in": ["DE", "FR"]}, "$or": [{"age": {"$gte": 18}}, {"plan.name": "family"}]}

All entries of a condition must hold. A field is a dotted path into the attributes; a list offers its indices
and `length`. A field's condition is a literal (types never mix: 1 is neither "1" nor true) or operators:

    $eq $ne $lt $lte $gt $gte        strings and numbers; a missing attribute is null
    $in $nin $ini $nini              one of; of a list: any of its elements; i: whatever the case
    $all $alli $size $elemMatch      of lists
    $regex $regexi $notRegex $notRegexi     found anywhere; of an attribute that is no string: not found
    $vgt $vgte $vlt $vlte $veq $vne  versions
    $exists $type $not               $type: null boolean number string array object
    $and $or $nor $not               of whole conditions; an empty $or holds

What GrowthBook would take and never fulfil (an unknown operator, an operand of the wrong type, a broken
pattern) is refused here: it is a mistake, and a silent one targets nobody, or under `$not` everybody.
Saved groups ($inGroup, $notInGroup, $savedGroup) are refused too: the values belong in an `$in`.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from trimtab.combining import all_found, any_element, at, every, negated, none, sized, some
from trimtab.comparisons import Test, among, exists, of_type, ordered, same_as, strictly_equal
from trimtab.patterns import found
from trimtab.versions import version

Condition = Callable[[Mapping[str, Any]], bool]

MAX_DEPTH: Final = 20
MAX_NODES: Final = 1_000
"""Fields and operators of one condition."""
MAX_VALUES: Final = 10_000
"""Literals of one condition, the elements of its lists included."""
MAX_PATH_CHARS: Final = 256


class BadCondition(ValueError):
    """A condition that cannot be evaluated; the message names the operator or the path."""


LEAVES: Final[Mapping[str, Callable[[Any], Test]]] = {
    "$eq": strictly_equal,
    "$ne": lambda wanted: negated(strictly_equal(wanted)),
    "$lt": lambda wanted: ordered(operator.lt, wanted),
    "$lte": lambda wanted: ordered(operator.le, wanted),
    "$gt": lambda wanted: ordered(operator.gt, wanted),
    "$gte": lambda wanted: ordered(operator.ge, wanted),
    "$in": among,
    "$nin": lambda wanted: negated(among(wanted)),
    "$ini": lambda wanted: among(wanted, any_case=True),
    "$nini": lambda wanted: negated(among(wanted, any_case=True)),
    "$regex": found,
    "$regexi": lambda wanted: found(wanted, any_case=True),
    "$notRegex": lambda wanted: negated(found(wanted)),
    "$notRegexi": lambda wanted: negated(found(wanted, any_case=True)),
    "$vlt": lambda wanted: version(operator.lt, wanted),
    "$vlte": lambda wanted: version(operator.le, wanted),
    "$vgt": lambda wanted: version(operator.gt, wanted),
    "$vgte": lambda wanted: version(operator.ge, wanted),
    "$veq": lambda wanted: version(operator.eq, wanted),
    "$vne": lambda wanted: negated(version(operator.eq, wanted)),
    "$exists": exists,
    "$type": of_type,
}
NESTED: Final = ("$not", "$size", "$elemMatch", "$all", "$alli")
JOINS: Final = ("$and", "$or", "$nor")
GROUPS: Final = ("$inGroup", "$notInGroup", "$savedGroup", "$savedGroups")


def compile_condition(document: Mapping[str, Any]) -> Condition:
    """Return the condition as a function of the attributes, which raises nothing, whatever they hold.

    All of the document is read here and now: later changes to it change nothing. Raises BadCondition.
    """
    return _Compiler().condition(document, "", 1)


class _Compiler:
    """Reads one document into nested functions, and counts what it holds against the limits."""

    def __init__(self) -> None:
        self.nodes = 0
        self.values = 0

    def condition(self, document: Any, where: str, depth: int) -> Test:
        """Return the test of an object's fields that `document` asks for."""
        if not isinstance(document, Mapping):
            raise BadCondition(f"{where or 'the condition'}: must be an object, not {document!r:.50}")
        self._count(len(document), where, depth)
        return every(tuple(self._entry(name, operand, depth) for name, operand in document.items()))

    def _entry(self, name: Any, operand: Any, depth: int) -> Test:
        if name in JOINS:
            if not isinstance(operand, list | tuple):
                raise BadCondition(f"{name}: must be a list of conditions, not {type(operand).__name__}")
            self._count(len(operand), name, depth)
            parts = tuple(self.condition(each, name, depth + 1) for each in operand)
            return every(parts) if name == "$and" else some(parts) if name == "$or" else none(parts)
        if name == "$not":
            return negated(self.condition(operand, name, depth + 1))
        if isinstance(name, str) and name.startswith("$"):
            raise BadCondition(_unknown(name, "among the fields"))
        return at(_path(name), self.value(operand, name, depth + 1))

    def value(self, operand: Any, where: str, depth: int, *, any_case: bool = False) -> Test:
        """Return the test of one value: a literal's, or that of all its operators."""
        if not isinstance(operand, Mapping) or not any(_is_operator(key) for key in operand):
            return self._literal(operand, where, depth, any_case=any_case)
        self._count(len(operand), where, depth)
        return every(tuple(self._operator(key, each, where, depth + 1) for key, each in operand.items()))

    def _literal(self, operand: Any, where: str, depth: int, *, any_case: bool) -> Test:
        if isinstance(operand, Mapping) and not operand:
            raise BadCondition(f"{where}: {{}} says nothing: write $exists, or leave the field out")
        self._check_values(operand, where, depth)
        return among([operand], any_case=True, lists=False) if _folds(operand, any_case) else same_as(operand)

    def _operator(self, name: Any, operand: Any, where: str, depth: int) -> Test:
        here = f"{where}: {name}"
        if name in NESTED:
            return self._nested(name, operand, here, depth)
        leaf = LEAVES.get(name)
        if leaf is None:
            raise BadCondition(f"{where}: {_unknown(name, 'on a value')}")
        self._check_values(operand, here, depth)
        try:
            return leaf(operand)
        except ValueError as error:
            raise BadCondition(f"{here}: {error}") from error

    def _nested(self, name: str, operand: Any, here: str, depth: int) -> Test:
        if name == "$not":
            return negated(self.value(operand, here, depth))
        if name == "$size":
            return sized(self.value(operand, here, depth))
        if name == "$elemMatch":
            return any_element(self._element(operand, here, depth))
        if not isinstance(operand, list | tuple):
            raise BadCondition(f"{here}: must be a list, not {type(operand).__name__}")
        self._count(len(operand), here, depth)
        any_case = name == "$alli"
        return all_found(tuple(self.value(each, here, depth + 1, any_case=any_case) for each in operand))

    def _element(self, operand: Any, here: str, depth: int) -> Test:
        """Return the test of one element: of itself where there are only operators, else of its fields."""
        if (
            isinstance(operand, Mapping)
            and operand
            and all(key in LEAVES or key in NESTED for key in operand)
        ):
            return self.value(operand, here, depth)
        return self.condition(operand, here, depth)

    def _count(self, nodes: int, where: str, depth: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise BadCondition(f"{where}: the condition has more than {MAX_NODES} fields and operators")
        if depth > MAX_DEPTH:
            raise BadCondition(f"{where}: the condition is nested more than {MAX_DEPTH} deep")

    def _check_values(self, operand: Any, where: str, depth: int) -> None:
        """Raise BadCondition unless `operand` is a JSON value within the limits."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise BadCondition(f"{where}: the condition holds more than {MAX_VALUES} values")
        self._count(0, where, depth)
        if isinstance(operand, Mapping):
            if any(not isinstance(key, str) or _is_operator(key) for key in operand):
                raise BadCondition(f"{where}: an object here is a literal: its names are text without a `$`")
            for each in operand.values():
                self._check_values(each, where, depth + 1)
        elif isinstance(operand, list | tuple):
            for each in operand:
                self._check_values(each, where, depth + 1)
        elif not (operand is None or isinstance(operand, str | bool | int | float)):
            raise BadCondition(f"{where}: a {type(operand).__name__} is no JSON value")
        elif isinstance(operand, float) and not math.isfinite(operand):
            raise BadCondition(f"{where}: {operand} is no JSON number")


def _is_operator(name: Any) -> bool:
    return isinstance(name, str) and name.startswith("$")


def _folds(operand: Any, any_case: bool) -> bool:
    return any_case and isinstance(operand, str)


def _unknown(name: Any, place: str) -> str:
    if name in GROUPS:
        return f"{name}: there are no saved groups here: write the values in an $in"
    if not _is_operator(name):
        return f"operators and fields do not mix, here `{name}`"
    return f"{name} is no operator {place}"


def _path(name: Any) -> tuple[str, ...]:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_PATH_CHARS or "" in name.split("."):
        raise BadCondition(f"{name!r:.50}: a field is a dotted path of 1 to {MAX_PATH_CHARS} characters")
    return tuple(name.split("."))
