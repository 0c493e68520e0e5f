"""Targeting: our reading of a condition is GrowthBook's (the oracle: `growthbook` 4.0.0 for Python).

Where the two differ on purpose, and who is right:

- Operands that can never be met (`$in` of no list, `$lt` of null, an unknown operator, a broken pattern, a
  version as a number, `$eq` of an object, `{}`) are refused here; GrowthBook takes them and answers false.
  Ours: a mistake is told to its author. For the same reason saved groups are refused: we have none.
- A pattern that could take too long is refused, and nothing is found in a text of more than 512 characters.
  Ours: the text comes from a stranger. GrowthBook tries it for as long as it takes.
- A version of more than 256 characters is no version. Ours, as above.
- A tuple is a list here and of no type there; only local callers can pass one.
- In a version `¹` is a digit to Python's GrowthBook, and is none to JavaScript's and to us.

GrowthBook's JavaScript SDK (1.8.0) differs from its Python SDK: a literal and the operands of `$lt` and its
like are converted first (`"5"` is 5, what is missing is 0), a missing version is 0, a pattern is tried on
"null" for what is missing, `$notRegex` is unknown, `$or` in `$elemMatch` never holds. We follow Python's.
"""

from enum import Enum, IntEnum
from typing import Any

import pytest
from growthbook.core import evalCondition
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.comparisons import TYPES
from trimtab.conditions import (
    LEAVES,
    MAX_DEPTH,
    MAX_NODES,
    MAX_VALUES,
    NESTED,
    BadCondition,
    compile_condition,
)

NAMES = ("a", "b", "c", "0", "10", "length")
SOME_NUMBERS = [0, 1, -1, 1.0, 0.5, 2, 3, 10**20, 2**53 + 1, 1e300]
SOME_WORDS = [
    "",
    "a",
    "A",
    "ab",
    "Ab",
    "é",
    "É",
    "ß",
    "ẞ",
    "Σ",
    "ς",
    "İ",
    "\U0001f989",
    "￿",
    "\ue000",
    "\ud800",
    "0",
    "1",
    "true",
]
SOME_VERSIONS = [
    "",
    "1",
    "1.2",
    "1.2.3",
    "v1.2.3",
    "1.10.0",
    "1.9.0",
    "1.2.3-rc.1",
    "1.2.3-rc.10",
    "1.2.3+build",
    "123456.1.1",
    "a.b",
]
SOME_PATTERNS = ["a", "^A", "b$", "[ab]+", "^$", "é", "a|b", ".", r"\d", r"^(a|é)", "(?i)AB", r"\.2"]
SOME_SCALARS = [None, True, False, *SOME_NUMBERS, *SOME_WORDS, *SOME_VERSIONS]
SOME_LISTS = [[], [0], [True], [1, None], ["a", "B"], ["É", 1, [1]], [{"b": 1}, "a"], [None], [float("nan")]]
SOME_OBJECTS = [{}, {"a": 1}, {"b": [1]}, {"a": 1, "b": True}, {"b": True, "a": 1}, {"0": 1, "a": None}]
EVERY_VALUE = [*SOME_SCALARS, *SOME_LISTS, *SOME_OBJECTS, float("nan"), float("inf"), -float("inf")]
NUMBERS, VERSIONS = st.sampled_from(SOME_NUMBERS), st.sampled_from(SOME_VERSIONS)
TEXTS = st.sampled_from(SOME_WORDS) | VERSIONS
SCALARS = st.sampled_from(SOME_SCALARS)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
UNRULY = JSON | st.sampled_from([float("nan"), float("inf"), -float("inf")])
ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), UNRULY | st.lists(UNRULY, max_size=3), max_size=4)
PATHS = st.sampled_from(NAMES) | st.lists(st.sampled_from(NAMES), min_size=2, max_size=3).map(".".join)
SOME_AMONG = [
    [],
    [each for each in SOME_SCALARS if each != ""],
    *[[each] for each in SOME_SCALARS],
    ["a", True, 2],
]


def _each(names: list[str], pool: list[Any]) -> dict[str, list[Any]]:
    return dict.fromkeys(names, pool)


EVERY_OPERAND: dict[str, list[Any]] = {
    **_each(["$eq", "$ne"], SOME_SCALARS),
    **_each(["$lt", "$lte", "$gt", "$gte"], [*SOME_NUMBERS, *SOME_WORDS, *SOME_VERSIONS]),
    **_each(["$in", "$nin", "$ini", "$nini"], SOME_AMONG),
    **_each(["$regex", "$regexi", "$notRegex", "$notRegexi"], SOME_PATTERNS),
    **_each(["$vgt", "$vgte", "$vlt", "$vlte", "$veq", "$vne"], SOME_VERSIONS),
    "$exists": [True, False, 1, 0],
    "$type": list(TYPES),
    "$not": [{"$gt": 0}, {"$in": ["a"]}, "a", None, [0], {"$not": {"$exists": True}}],
    "$size": [0, 1, 2, {"$gt": 1}, {"$in": [1]}],
    "$elemMatch": [{"$gt": 0}, {"$in": ["a"]}, {"b": 1}, {"$or": [{"b": 1}, {"0": 1}]}, {"$not": {"$gt": 0}}],
    "$all": [[], ["a"], [1, None], ["a", "B"], [{"$gt": 0}], [{"b": 1}, "a"], [float(1)]],
    "$alli": [[], ["A"], ["A", "b"], ["é", 1], [{"$regex": "a"}], [None]],
}
OPERANDS = {name: st.sampled_from(pool) for name, pool in EVERY_OPERAND.items() if name in LEAVES} | {
    name: st.lists(SCALARS, max_size=4) for name in ("$in", "$nin", "$ini", "$nini")
}
LEAF = st.one_of([st.fixed_dictionaries({name: operand}) for name, operand in OPERANDS.items()])
LITERALS = JSON.filter(lambda value: value != {})


def _operators(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner | LITERALS, max_size=3)
    return st.one_of(
        st.tuples(LEAF, LEAF).map(lambda both: both[0] | both[1]),
        st.fixed_dictionaries({"$not": inner | LITERALS}),
        st.fixed_dictionaries({"$size": st.integers(0, 3) | inner}),
        st.fixed_dictionaries({"$elemMatch": inner | st.dictionaries(PATHS, inner | LITERALS, max_size=2)}),
        st.fixed_dictionaries({"$all": several}),
        st.fixed_dictionaries({"$alli": several}),
    )


def _of_fields(condition: dict[str, Any]) -> bool:
    """Tell whether `$elemMatch` reads it as fields: `$not` alone would be an operator on the element."""
    return bool(condition) and "$not" not in condition


VALUES = st.recursive(LEAF, _operators, max_leaves=4) | LITERALS
FIELDS = st.dictionaries(PATHS, VALUES, max_size=2)
CONDITIONS = st.recursive(
    FIELDS,
    lambda inner: st.one_of(
        *[st.fixed_dictionaries({join: st.lists(inner, max_size=3)}) for join in ("$and", "$or", "$nor")],
        st.fixed_dictionaries({"$not": inner}),
        st.tuples(inner, inner).map(lambda both: both[0] | both[1]),
        st.fixed_dictionaries({"a": st.fixed_dictionaries({"$elemMatch": inner.filter(_of_fields)})}),
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(CONDITIONS, st.lists(ATTRIBUTES, min_size=3, max_size=6))
def test_conditions_are_growthbooks(condition: dict[str, Any], units: list[dict[str, Any]]) -> None:
    """Any condition, nested anyhow, has the same answer here as at GrowthBook, for any attributes."""
    ours = compile_condition(condition)
    for attributes in units:
        assert ours(attributes) == evalCondition(attributes, condition), attributes


@pytest.mark.parametrize("name", [*LEAVES, *NESTED])
def test_every_operator_is_growthbooks(name: str) -> None:
    """Each operator has GrowthBook's answer for every pair of some eighty values and its operands."""
    answers = set()
    for operand in EVERY_OPERAND[name]:
        condition = {"a": {name: operand}}
        ours = compile_condition(condition)
        for value in EVERY_VALUE:
            answer = ours({"a": value})
            assert answer == evalCondition({"a": value}, condition), (operand, value)
            answers.add(answer)
        assert ours({}) == evalCondition({}, condition), operand
    assert answers == {True, False}


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ({"a": {"$gtt": 1}}, r"\$gtt is no operator"),
        ({"$foo": 1}, r"\$foo is no operator"),
        ({"a": {"$gt": 1, "b": 2}}, "do not mix, here `b`"),
        ({"a": {}}, "says nothing"),
        ({"a": {"$in": "text"}}, r"a: \$in: needs a list"),
        ({"a": {"$in": [[1]]}}, "never equal"),
        ({"a": {"$eq": {"b": 1}}}, "never equal"),
        ({"a": {"$lt": None}}, "needs a number or a string"),
        ({"a": {"$gt": True}}, "needs a number or a string"),
        ({"a": {"$all": 1}}, "must be a list"),
        ({"a": {"$elemMatch": 1}}, "must be an object"),
        ({"a": {"$exists": "yes"}}, "true or false"),
        ({"a": {"$type": "text"}}, "one of null, boolean"),
        ({"a": {"$regex": "("}}, "no pattern"),
        ({"a": {"$regex": 7}}, "needs a pattern"),
        ({"a": {"$vgt": 1.1}}, "in quotes"),
        ({"a": {"$inGroup": "beta"}}, "no saved groups"),
        ({"$savedGroup": {"id": "beta"}}, "no saved groups"),
        ({"a": {"$or": [1]}}, r"\$or is no operator on a value"),
        ({"$or": {"a": 1}}, "must be a list of conditions"),
        ({"$and": [1]}, "must be an object"),
        ({"$not": []}, "must be an object"),
        ({"": 1}, "dotted path"),
        ({"a..b": 1}, "dotted path"),
        ({1: 1}, "dotted path"),
        ({"a": float("nan")}, "no JSON number"),
        ({"a": {"$lt": float("inf")}}, "no JSON number"),
        ({"a": [object()]}, "no JSON value"),
        ({"a": [{"$gt": 1}]}, "an object here is a literal"),
        ({f"f{number}": 1 for number in range(MAX_NODES + 1)}, "more than"),
        ({"a": {"$in": list(range(MAX_VALUES + 1))}}, "more than"),
        (["a"], "must be an object"),
    ],
)
def test_mistakes_are_refused_by_name(condition: Any, named: str) -> None:
    """A condition that could never do what it says is refused, and the message names the place."""
    with pytest.raises(BadCondition, match=named):
        compile_condition(condition)


@pytest.mark.parametrize("wrap", [lambda x: {"$not": x}, lambda x: {"a": {"$not": x}}, lambda x: {"a": [x]}])
def test_depth_has_a_limit(wrap: Any) -> None:
    """A condition nested beyond the limit is refused before it can exhaust the stack."""
    condition: Any = {"a": 1}
    for _ in range(MAX_DEPTH * 50):
        condition = wrap(condition)
    with pytest.raises(BadCondition):
        compile_condition(condition)


def test_a_compiled_condition_is_its_own() -> None:
    """Changing the document afterwards changes nothing."""
    document: dict[str, Any] = {"a": [1, {"b": 2}], "c": {"$in": [1]}}
    condition = compile_condition(document)
    document["a"][1]["b"] = 3
    document["c"]["$in"].append(2)
    assert condition({"a": [1, {"b": 2}], "c": 1})
    assert not condition({"a": [1, {"b": 2}], "c": 2})


class Country(str, Enum):  # noqa: UP042 - people have these
    GERMANY = "DE"


class Age(IntEnum):
    ADULT = 18


@pytest.mark.parametrize(
    "condition",
    [
        {"country": "DE", "age": 18},
        {"country": {"$in": ["DE"]}, "age": {"$in": [18]}},
        {"country": {"$ini": ["de"]}, "age": {"$gte": 18}},
        {"country": {"$regex": "^DE$"}, "age": {"$nin": [17]}},
    ],
)
def test_members_of_enums_are_their_values(condition: dict[str, Any]) -> None:
    """An attribute may be a member of an enum of texts or numbers: it is what it stands for."""
    assert compile_condition(condition)({"country": Country.GERMANY, "age": Age.ADULT})


NESTED_DEEP: Any = []
for _ in range(5_000):
    NESTED_DEEP = [NESTED_DEEP]


@pytest.mark.parametrize(
    "value",
    [object(), b"bytes", 1j, {1, 2}, NESTED_DEEP, "x" * 1_000_000, 10**5_000, {"a": object()}, (1, 2)],
    ids=range(9),
)
@pytest.mark.parametrize("name", [*LEAVES, *NESTED, "literal"])
def test_no_attribute_makes_it_raise(name: str, value: Any) -> None:
    """Whatever an attribute holds, the answer is true or false."""
    examples: dict[str, Any] = {"$exists": True, "$type": "array", "$regex": "a", "$in": ["a"], "$all": ["a"]}
    operand = examples.get(name, ["a"] if name in ("$nin", "$ini", "$nini", "$alli") else "1")
    if name == "$elemMatch":
        operand = {"b": {"$elemMatch": {"$gt": 1}}}
    condition = compile_condition({"a": [["1"]] if name == "literal" else {name: operand}})
    assert condition({"a": value}) in (True, False)
    assert condition({}) in (True, False)
