"""What the client lets through the gateway takes: no exposure is lost for what it carries."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libs.common.clock import SystemClock
from services.gateway.domain.intake import parse_body, sort_batch
from trimtab import Assignment
from trimtab.events import exposure
from trimtab.packing import body, pack
from trimtab.units import is_unit_id, told

NAMES = [f"attribute-{number}" for number in range(40)]
ASSIGNMENT = Assignment("digits", "b", experiment_id="digits-v2", in_experiment=True, reason="assigned")
TEXT = st.text(st.characters(), max_size=300)  # with control characters and halves of characters
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    TEXT,
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
)


@given(unit_id=TEXT, attributes=st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_every_exposure_is_taken(unit_id: str, attributes: dict[str, Any]) -> None:
    """For any unit's id and any attributes: what the client sends is accepted, and it sends what it can."""
    carried, left_out = told(attributes, NAMES)
    assert len(carried) + left_out == sum(value is not None for value in attributes.values())
    packed = pack(exposure(unit_id if is_unit_id(unit_id) else "user-7", ASSIGNMENT, carried))
    batch = parse_body(body([packed]))
    assert isinstance(batch, dict)
    acceptable, problems = sort_batch(batch["events"], SystemClock().now_ms())
    assert problems == []
    assert json.loads(acceptable[0].value)["attributes"] == carried


@given(unit_id=TEXT)
def test_units_are_those_of_the_gateway(unit_id: str) -> None:
    """The client takes the same ids as the gateway, no more and no fewer."""
    packed = pack(exposure(unit_id, ASSIGNMENT, None))
    batch = parse_body(body([packed]))
    assert isinstance(batch, dict)
    acceptable, _ = sort_batch(batch["events"], SystemClock().now_ms())
    assert len(acceptable) == is_unit_id(unit_id)
