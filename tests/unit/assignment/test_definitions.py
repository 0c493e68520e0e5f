"""What a definition must keep beyond its schema."""

from typing import Any

import pytest

from libs.common.errors import Refused
from schemas.experiments import ExperimentDefinition, ExperimentKind, Policy, Variant
from services.assignment.domain.definitions import check_definition
from services.assignment.handlers.create import create
from tests.unit.assignment.make import definition, desk

SHADOW, FLAG = ExperimentKind.SHADOW, ExperimentKind.FLAG
PLAIN = Policy(ramp=())


def of(*payloads: Any, **fields: Any) -> ExperimentDefinition:
    """Return a definition with these payloads; the first is control's."""
    arms = tuple(Variant(key=f"v{number}", payload=each) for number, each in enumerate(payloads))
    return definition(variants=arms, control="v0", **fields)


def versioned(kind: ExperimentKind, *versions: str | None, **fields: Any) -> ExperimentDefinition:
    """Return a definition of a kind whose variants carry these versions."""
    arms = tuple(Variant(key=f"v{number}", model_version=each) for number, each in enumerate(versions))
    return definition(kind=kind, variants=arms, control="v0", policy=PLAIN, **fields)


@pytest.mark.parametrize(
    "payloads",
    [("a", "b"), (1, 2.5), (True, False), ({"a": 1}, {}), ([1], []), (None, None)],
)
def test_payloads_of_one_type_are_taken(payloads: tuple[Any, ...]) -> None:
    """All of one JSON type, whole numbers and fractions alike, or none at all."""
    check_definition(of(*payloads))


@pytest.mark.parametrize(
    "payloads", [("a", 1), (1, True), (None, "b"), ("a", None), ([1], {"a": 1}), (0, "", 0)]
)
def test_payloads_of_several_types_are_refused(payloads: tuple[Any, ...]) -> None:
    """A flag's value has one type: a mixture is refused, saying which variant has what."""
    with pytest.raises(Refused, match="one JSON type") as refusal:
        check_definition(of(*payloads))
    assert refusal.value.field == "variants"
    assert "v0: " in refusal.value.message


@pytest.mark.parametrize("payload", ["NaN", "-Infinity", "1e999", "[1.0, Infinity]", '{"a": [NaN]}'])
def test_payloads_that_are_no_json_are_refused(payload: str) -> None:
    """NaN and infinity would be stored as null, and no client's parser would take them."""
    text = of(0, 0).model_dump_json().replace('"payload":0', f'"payload":{payload}')
    with pytest.raises(Refused, match="JSON") as refusal:
        check_definition(ExperimentDefinition.model_validate_json(text))
    assert refusal.value.field == "variants"


async def test_targeting_that_cannot_be_evaluated_is_refused() -> None:
    """A condition with an unknown operator is refused when the experiment is created, not met by clients."""
    place = desk()
    with pytest.raises(Refused) as refusal:
        await create(place, definition(targeting={"country": {"$near": "DE"}}), by="ada")
    assert refusal.value.field == "targeting"
    assert "$near" in refusal.value.message
    await create(place, definition(targeting={"country": {"$in": ["DE"]}}), by="ada")


def test_a_shadow_names_the_versions_to_ask() -> None:
    """A shadow experiment names its model and a version in every variant."""
    check_definition(versioned(SHADOW, "1", "2", model="digits"))
    for bad in (versioned(SHADOW, "1", "2"), versioned(SHADOW, "1", None, model="digits")):
        with pytest.raises(Refused, match="shadow"):
            check_definition(bad)


def test_a_flag_has_no_model() -> None:
    """Nothing is measured of a flag, so that it serves no versions and remembers no units."""
    check_definition(of(True, False, kind=FLAG, policy=PLAIN))
    for bad in (
        versioned(FLAG, "1", "2"),
        versioned(FLAG, None, None, model="digits"),
        of(True, False, kind=FLAG, policy=PLAIN, sticky=True),
    ):
        with pytest.raises(Refused):
            check_definition(bad)
