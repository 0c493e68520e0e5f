"""A batch is sorted into what may go onto the bus and what may not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import Refused
from schemas.decode import decode
from services.gateway.domain.intake import parse_body, sort_batch

NOW_MS = 1_700_000_000_000
GOOD = {
    "type": "conversion",
    "event_id": "e1",
    "occurred_at_ms": NOW_MS,
    "unit_id": "u1",
    "name": "purchase",
    "value": 2,
}

BAD = [
    pytest.param({**GOOD, "type": "purchase"}, "type", id="unknown type"),
    pytest.param({**GOOD, "value": float("nan")}, "value", id="not a number"),
    pytest.param({**GOOD, "value": float("inf")}, "value", id="infinite"),
    pytest.param({**GOOD, "value": "2"}, "value", id="a string for a number"),
    pytest.param({**GOOD, "unit_id": "u" * 257}, "unit_id", id="id of 257 characters"),
    pytest.param({**GOOD, "unit_id": ""}, "unit_id", id="empty id"),
    pytest.param({**GOOD, "event_id": "a\x00b"}, "event_id", id="control character"),
    pytest.param(
        {**GOOD, "occurred_at_ms": NOW_MS + 86_400_001}, "occurred_at_ms", id="more than a day ahead"
    ),
    pytest.param({**GOOD, "occurred_at_ms": -1}, "occurred_at_ms", id="before 1970"),
    pytest.param({key: GOOD[key] for key in GOOD if key != "unit_id"}, "unit_id", id="missing field"),
    pytest.param({**GOOD, "attributes": {"a": {"b": 1}}}, "attributes", id="nested attribute"),
    pytest.param([GOOD], "", id="an array for an event"),
    pytest.param(None, "", id="null for an event"),
]


@pytest.mark.parametrize(("event", "field"), BAD)
def test_names_index_and_field_of_a_bad_event(event: object, field: str) -> None:
    """The bad event is named by index and field; its neighbours are accepted."""
    acceptable, problems = sort_batch([GOOD, event, GOOD], NOW_MS)
    assert [each.index for each in acceptable] == [0, 2]
    assert [problem.index for problem in problems] == [1]
    assert problems[0].field.split(".")[0] == field
    assert problems[0].problem


def test_accepts_up_to_a_day_ahead() -> None:
    """Exactly one day ahead is the last time that is accepted."""
    acceptable, problems = sort_batch([{**GOOD, "occurred_at_ms": NOW_MS + 86_400_000}], NOW_MS)
    assert len(acceptable) == 1
    assert problems == []


def test_record_is_what_consumers_decode() -> None:
    """What goes onto the bus decodes as the event of its topic, unknown fields dropped."""
    (event,), _ = sort_batch([{**GOOD, "colour": "blue"}], NOW_MS)
    assert event.topic == "conversions"
    assert event.unit_id == "u1"
    decoded = decode(event.topic, event.value, NOW_MS)
    assert decoded.model_dump()["value"] == 2.0
    assert b"colour" not in event.value


def test_body_with_nan_is_read_so_that_the_event_can_be_named() -> None:
    """NaN is no JSON, but producers send it: only the event that holds it is refused."""
    body = json.dumps({"events": [GOOD, {**GOOD, "value": float("nan")}]}).encode()
    parsed = parse_body(body)
    assert isinstance(parsed, dict)
    acceptable, problems = sort_batch(parsed["events"], NOW_MS)
    assert len(acceptable) == 1
    assert problems[0].field == "value"


def test_body_with_a_lone_surrogate_is_read_likewise() -> None:
    """A lone surrogate spoils its own event, not the batch."""
    body = b'{"events": [' + json.dumps(GOOD).encode() + b', {"type": "conversion", "unit_id": "\\ud800"}]}'
    parsed = parse_body(body)
    assert isinstance(parsed, dict)
    acceptable, problems = sort_batch(parsed["events"], NOW_MS)
    assert len(acceptable) == 1
    assert problems[0].index == 1


@pytest.mark.parametrize("broken", [b'"\xff"', b"1" * 5_000], ids=["no UTF-8", "5,000 digits"])
def test_one_broken_value_spoils_its_own_event_only(broken: bytes) -> None:
    """A byte that is no UTF-8, or an endless number, is named; the neighbour is accepted."""
    good = json.dumps(GOOD).encode()
    parsed = parse_body(b'{"events": [' + good + b", " + good.replace(b'"u1"', broken) + b"]}")
    assert isinstance(parsed, dict)
    acceptable, problems = sort_batch(parsed["events"], NOW_MS)
    assert [each.index for each in acceptable] == [0]
    assert [(each.index, each.field) for each in problems] == [(1, "unit_id")]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"events": [1,]}'])
def test_refuses_what_is_no_json(body: bytes) -> None:
    """A body that is no JSON at all is refused as a whole."""
    with pytest.raises(Refused, match="JSON"):
        parse_body(body)


def test_refuses_deep_nesting() -> None:
    """A hundred thousand brackets are refused, not a crash."""
    with pytest.raises(Refused):
        parse_body(b"[" * 100_000 + b"]" * 100_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(json_values | st.fixed_dictionaries(dict.fromkeys(GOOD, json_values)), max_size=8))
def test_every_index_gets_exactly_one_outcome(events: list[object]) -> None:
    """Whatever is sent, nothing raises and every index is either acceptable or has a problem."""
    acceptable, problems = sort_batch(events, NOW_MS)
    outcomes = sorted([each.index for each in acceptable] + [each.index for each in problems])
    assert outcomes == list(range(len(events)))
