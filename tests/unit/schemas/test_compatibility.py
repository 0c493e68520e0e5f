"""Which changes of a schema break readers, and which do not."""

from enum import StrEnum
from typing import Annotated, Literal

import pytest
from pydantic import Field, JsonValue, create_model

from schemas import compatibility
from schemas.compatibility import incompatible_changes
from schemas.event import Contract
from schemas.generate import event_types, json_schema
from schemas.names import Attributes, Key, Probability


class Colour(StrEnum):
    """Two colours."""

    RED = "red"
    GREEN = "green"


class Red(StrEnum):
    """One is gone."""

    RED = "red"


class Colours(StrEnum):
    """One more."""

    RED = "red"
    GREEN = "green"
    BLUE = "blue"


class Inner(Contract):
    """A part."""

    share: Probability


class NarrowInner(Contract):
    """The same part, with a narrower limit."""

    share: Annotated[float, Field(ge=0, le=0.5)]


def schema(**fields: object) -> dict[str, object]:
    """Return the JSON Schema of a model with these fields, each a type or a type and its default."""
    given = {name: each if isinstance(each, tuple) else (each, ...) for name, each in fields.items()}
    return create_model("Event", __base__=Contract, **given).model_json_schema()  # type: ignore[call-overload,no-any-return]


COMPATIBLE = [
    (schema(a=int), schema(a=int, b=(int, 0)), "a new optional field"),
    (schema(a=int), schema(a=float), "a wider type"),
    (schema(a=int), schema(a=int | None), "one more type"),
    (schema(a=int), schema(a=JsonValue), "any type"),
    (schema(a=Colour), schema(a=Colours), "a new enum value"),
    (schema(a=NarrowInner), schema(a=Inner), "a wider limit inside"),
    (schema(a=Annotated[str, Field(max_length=3)]), schema(a=str), "a limit that is gone"),
    (schema(a=Key), schema(a=(Key, "x")), "a field that may be left out"),
    (schema(a=Literal["x"]), schema(a=Literal["x", "y"]), "a constant that became a choice"),
    (schema(a=dict[str, int]), schema(a=dict[str, float]), "wider values of a dictionary"),
]

INCOMPATIBLE = [
    (schema(a=int, b=int), schema(a=int), "b: is removed"),
    (schema(a=int), schema(a=int, b=int), "b: is required now"),
    (schema(a=(int, 0)), schema(a=int), "a: is required now"),
    (schema(a=float), schema(a=int), "a: type was number, is integer"),
    (schema(a=int | None), schema(a=int), "a: type was null, is integer"),
    (schema(a=JsonValue), schema(a=int), "a: type was anything, is integer"),
    (schema(a=Colour), schema(a=Red), "a: value 'green' is removed"),
    (schema(a=str), schema(a=Red), "a: was free, must be one of ['red'] now"),
    (schema(a=Literal["x"]), schema(a=Literal["y"]), "a: constant was 'x', is 'y'"),
    (schema(a=Inner), schema(a=NarrowInner), "a.share: maximum was 1.0, is 0.5"),
    (schema(a=tuple[Inner, ...]), schema(a=tuple[NarrowInner, ...]), "a[].share: maximum was 1.0, is 0.5"),
    (schema(a=str), schema(a=Annotated[str, Field(max_length=3)]), "a: maxLength was free, is 3"),
    (schema(a=str), schema(a=Annotated[str, Field(min_length=1)]), "a: minLength was free, is 1"),
    (schema(a=str), schema(a=Annotated[str, Field(pattern="^x$")]), "a: pattern was free, is ^x$"),
    (schema(a=dict[str, float]), schema(a=dict[str, int]), "a.*: type was number, is integer"),
    (
        schema(a=Attributes),
        schema(a=Annotated[Attributes, Field(max_length=3)]),
        "a: maxProperties was 32, is 3",
    ),
    (schema(a=Attributes), schema(a=dict[Key, str]), "a.key: pattern was"),
]


@pytest.mark.parametrize(("old", "new", "what"), COMPATIBLE, ids=[each[2] for each in COMPATIBLE])
def test_what_stays_valid_is_no_complaint(old: dict[str, object], new: dict[str, object], what: str) -> None:
    """A change after which every old record is still valid is compatible."""
    assert incompatible_changes(old, new) == []


@pytest.mark.parametrize(("old", "new", "sentence"), INCOMPATIBLE, ids=[each[2] for each in INCOMPATIBLE])
def test_what_breaks_is_named(old: dict[str, object], new: dict[str, object], sentence: str) -> None:
    """A change that refuses old records, or takes a field away, is named with its field."""
    found = incompatible_changes(old, new)
    assert any(each.startswith(sentence) for each in found), found


def test_a_schema_is_compatible_with_itself() -> None:
    """No event complains about itself, however deep it refers."""
    for name, model in event_types().items():
        same = json_schema(name, model)
        assert incompatible_changes(same, same) == []


def test_a_schema_that_refers_to_itself_ends() -> None:
    """A tree is compared once, not for ever, and a change inside it is found."""

    def tree(limit: int) -> dict[str, object]:
        node = {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": limit},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
            },
        }
        return {"$defs": {"Tree": node}, "$ref": "#/$defs/Tree"}

    assert incompatible_changes(tree(5), tree(5)) == []
    assert incompatible_changes(tree(5), tree(4)) == ["name: maxLength was 5, is 4"]


def test_events_are_checked_by_name() -> None:
    """A removed event is named, a new one is no complaint, and every complaint starts with its event."""
    baseline = {name: json_schema(name, model) for name, model in event_types().items()}
    assert compatibility.check(baseline) == []
    del baseline["exposure"]
    baseline["impression"] = {}
    narrowed = {**baseline["verdict"], "properties": {**baseline["verdict"]["properties"], "mood": {}}}
    assert compatibility.check({**baseline, "verdict": narrowed}) == [
        "impression: the event is removed",
        "verdict: mood: is removed",
    ]
