"""Bad input by name, each in one batch with good events: what becomes of it, and that nobody else is touched.

What ends in a dead letter is returned with a reason, what counts for nothing is counted, what would grow is
bounded (`test_overload.py`). That poison past the limit stops the line is shown where the line is:
`tests/unit/partitions/test_line.py::test_too_much_poison`.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from libs.common.bus.batches import Batch
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message
from libs.common.clock import ManualClock
from libs.common.partitions.memory import MemoryPartitionStore
from schemas.facts import Conversion, Exposure
from schemas.hot import MAX_REASON_CHARS
from services.metrics.domain.limits import HOUR_MS
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.partition import MetricsPartitions
from services.metrics.domain.rows import PartitionRows
from tests.unit.metrics.events import (
    T0,
    Event,
    as_reference,
    conversion,
    experiment,
    exposure,
    known,
    record,
    topic_of,
)
from tests.unit.metrics.test_line import merged, work
from tests.world.metrics_reference import Reference, reference

TOPICS = ("exposures", "conversions")
EXPOSURE = json.loads(exposure("bad", "a", 0).to_json())
CONVERSION = json.loads(conversion("bad", 0).to_json())
GOOD: list[Event] = [
    event
    for n in range(20)
    for event in (exposure(f"u{n}", "ab"[n % 2], n), conversion(f"u{n}", n + 1, n / 7))
]


class Bad(NamedTuple):
    """A record that is no event, and what its reason says."""

    topic: str
    value: bytes | None
    reason: str


def met(reason: str, **changes: object) -> Bad:
    """Return an exposure with other fields."""
    return Bad("exposures", json.dumps(EXPOSURE | changes).encode(), reason)


def did(reason: str, **changes: object) -> Bad:
    """Return a conversion with other fields."""
    return Bad("conversions", json.dumps(CONVERSION | changes).encode(), reason)


def did_worth(text: bytes, reason: str) -> Bad:
    """Return a conversion whose value is this text, as no serialiser would write it."""
    value = json.dumps(CONVERSION | {"value": 123.5}).encode()
    return Bad("conversions", value.replace(b"123.5", text), reason)


def truth(events: Sequence[Event]) -> Reference:
    """Return what the reference finds."""
    met_events = [event for event in events if isinstance(event, Exposure)]
    return reference(experiment(), met_events, [event for event in events if isinstance(event, Conversion)])


def mixed(topic: str, bad: Sequence[Bad]) -> Iterator[tuple[bytes | None, str]]:
    """Yield values with their reasons ("": none), a good event before and after each bad one."""
    good = [event for event in GOOD if topic_of(event) == topic]
    yield good[0].to_json(), ""
    for each, after in zip([each for each in bad if each.topic == topic], good[1:], strict=False):
        yield each.value, each.reason
        yield after.to_json(), ""
    for event in good:  # again, as far as some have been before
        yield event.to_json(), ""


def assert_rejected(bad: Sequence[Bad]) -> None:
    """Each of these is returned with its place and reason, and of the good events around it none is lost."""
    makes = MetricsPartitions(known("x"))
    state = makes(0, None)
    for topic in TOPICS:
        values = list(mixed(topic, bad))
        expected = {place: reason for place, (_, reason) in enumerate(values) if reason}
        batch = Batch.of([record(topic, value, place) for place, (value, _) in enumerate(values)])
        rejected = state.fold(topic, batch)
        assert [each.record.offset for each in rejected] == list(expected)
        for each in rejected:
            assert each.record.value == values[each.record.offset][0]
            assert expected[each.record.offset] in each.reason
            assert len(each.reason) <= MAX_REASON_CHARS
    assert as_reference(state.rows()) == truth(GOOD)
    assert state.units == 20
    assert makes.outcomes == Outcomes(duplicates=makes.outcomes.duplicates)


POISON = [
    Bad("exposures", None, "the record has no value"),
    Bad("exposures", b"", "Invalid JSON"),
    Bad("exposures", b"\x00\xff\xfe", "Invalid JSON"),
    Bad("exposures", b"null", "should be an object"),
    Bad("exposures", b"[]", "should be an object"),
    Bad("exposures", json.dumps(CONVERSION).encode(), "type: "),
    Bad("exposures", json.dumps(EXPOSURE).encode().replace(b"bad", b"b\xff\xfed"), "Invalid JSON"),
    Bad("conversions", json.dumps(EXPOSURE).encode(), "type: "),
    Bad("conversions", b"{}", "event_id: Field required"),
]


def test_poison() -> None:
    """What is no event of its topic is a dead letter with the reason."""
    assert_rejected(POISON)


def test_truncated_json() -> None:
    """An event that was cut anywhere is a dead letter, though what is left names unit and experiment."""
    whole = json.dumps(EXPOSURE).encode(), json.dumps(CONVERSION).encode()
    assert_rejected(
        [
            Bad(topic, value[: len(value) * part // 10], "Invalid JSON: Input data was truncated")
            for topic, value in zip(TOPICS, whole, strict=True)
            for part in range(1, 10)
        ]
    )


def test_wrong_types() -> None:
    """Nothing is coerced: the reason names the field."""
    assert_rejected(
        [
            did("value: ", value="12"),
            did("value: ", value=None),
            did("value: ", value=True),
            did("name: ", name=["purchase"]),
            did("occurred_at_ms: ", occurred_at_ms=None),
            met("unit_id: ", unit_id=7),
            met("occurred_at_ms: ", occurred_at_ms="2026-01-01"),
            met("occurred_at_ms: ", occurred_at_ms=T0 + 0.5),
            met("experiment_id: ", experiment_id={"id": "x"}),
            met("variant: ", variant=None),
            met("attributes: ", attributes=[]),
            met("attributes.country: ", attributes={"country": {"code": "de"}}),
        ]
    )


def test_huge_strings() -> None:
    """One character over a limit or a million: the reason names the field and stays short."""
    assert_rejected(
        [
            met("unit_id: ", unit_id="u" * 1_000_000),
            met("variant: ", variant="v" * 129),
            met("experiment_id: ", experiment_id="x" * 129),
            met("attributes.country: ", attributes={"country": "d" * 257}),
            met("attributes.kkk", attributes={"k" * 1_000_000: "v"}),
            met("attributes: ", attributes={f"k{n}": "v" for n in range(33)}),
            did("event_id: ", event_id="c" * 257),
            did("name: ", name="n" * 129),
        ]
    )


def test_nan_and_infinity() -> None:
    """No number that is none gets near a sum, however it is written."""
    numbers = (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e13", b'"NaN"')
    assert_rejected(
        [
            *(did_worth(number, "value: ") for number in numbers),
            met("propensity: ", propensity=float("nan")),
            met("attributes.age: ", attributes={"age": float("inf")}),
        ]
    )


def test_deep_nesting() -> None:
    """A hundred thousand brackets end in a dead letter, whether in a known field or beside all of them."""
    deep, too_deep = 100_000, "recursion limit exceeded"
    brackets = b"[" * deep + b"]" * deep
    objects = b'{"k":' * deep + b"1" + b"}" * deep
    plain = json.dumps(EXPOSURE).encode()
    assert_rejected(
        [
            Bad("exposures", b"[" * deep, too_deep),
            Bad("exposures", b'{"z":' + brackets + b"," + plain[1:], too_deep),
            Bad("exposures", plain.replace(b"{}", objects), too_deep),
            did_worth(brackets, "value: "),
        ]
    )


def test_events_from_the_future() -> None:
    """More than a day ahead of its record an event is a dead letter: no clock of ours moves with it."""
    day_ms = 24 * HOUR_MS
    assert_rejected(
        [
            met("occurred_at_ms: ", occurred_at_ms=T0 + day_ms + 1),
            met("occurred_at_ms: ", occurred_at_ms=T0 * 1_000),
            met("occurred_at_ms: ", occurred_at_ms=10**30),
            did("occurred_at_ms: ", occurred_at_ms=T0 + 2 * day_ms),
        ]
    )


async def test_dead_letters_carry_bytes_offset_and_reason() -> None:
    """Through the whole line: every bad record lies in `dead-letters` once, byte for byte, with its place in
    the log and why; every good one is in the published rows."""
    bus, store = MemoryBus(ManualClock(T0)), MemoryPartitionStore[PartitionRows]()
    producer = bus.producer()
    await producer.start()
    for topic in TOPICS:
        await producer.send_all([Message(topic, "key", value) for value, _ in mixed(topic, POISON)])
    await producer.stop()
    assert await work(bus, store)
    reasons = {(each.topic, each.value): each.reason for each in POISON}
    expected = {
        (each.topic, each.partition, each.offset): (each.value, reasons[each.topic, each.value])
        for topic in TOPICS
        for each in bus.records(topic)
        if (each.topic, each.value) in reasons
    }
    letters = [json.loads(each.value or b"") for each in bus.records("dead-letters")]
    assert len(letters) == len(expected) == len(POISON)
    for letter in letters:
        value, reason = expected.pop((letter["topic"], letter["partition"], letter["offset"]))
        assert letter["value_base64"] == (None if value is None else base64.b64encode(value).decode())
        assert reason in letter["reason"]
    assert merged(store.published) == truth(GOOD)
