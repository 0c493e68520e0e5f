"""Hot decoding: the same answer as pydantic's, for every record, whatever its neighbours are."""

import json
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import hot
from schemas.decode import Malformed, decode
from schemas.names import MAX_AHEAD_MS

NOW_MS = 1_700_000_000_000
TOPICS = ("exposures", "predictions", "conversions", "feedback")

FACT = {"event_id": "e-1", "occurred_at_ms": NOW_MS, "unit_id": "Zoë 🚢"}
VALID: dict[str, dict[str, Any]] = {
    "exposures": {**FACT, "type": "exposure", "experiment_id": "exp", "variant": "b"},
    "predictions": {
        **FACT,
        "type": "prediction",
        "model": "digits",
        "model_version": "1",
        "features": {"größe": 1, "ok": True, "text": "x", "none": None},
        "output": "7",
        "confidence": 1,
    },
    "conversions": {**FACT, "type": "conversion", "name": "purchase €", "attributes": {"land": "NL"}},
    "feedback": {**FACT, "type": "feedback", "prediction_id": "p", "model": "digits", "label": 3},
}

OTHER_FIELDS = ("attributes", "features", "revision", "value", "rating", "latency_ms", "new")
ALPHABET = 'aZ0.-_é🚢 \n\t\x00\x1f\x7f\x85\\"/{}[],\ud800'
LONG = ("a" * 128, "a" * 129, "é" * 256, "é" * 257, "a\n", "\x7f")
CAREFUL = settings(deadline=None, max_examples=60)

PIECES = (
    b'{"x":[{}',
    b"{}]}",
    b"{},{}",
    b"{}{}",
    b'{"x":"}',
    b'{"}',
    b'1},{"a":1',
    b"{",
    b"}",
    b"[",
    b"]",
    b"]}",
    b",",
    b'"',
    b"\n",
    b"",
    b"null",
    b"\xc3",
    b"\xa9",
)


def plain(fact: hot.AnyHotFact | str) -> object:
    """Return a fact as plain values, a reason as "refused"."""
    if isinstance(fact, str):
        return "refused"
    absent: dict[str, Any] = {"attributes": {}} if isinstance(fact, hot.Exposure | hot.Conversion) else {}
    return absent | msgspec.to_builtins(fact)


def by_pydantic(topic: str, value: bytes | None) -> object:
    """Return the same from the pydantic models."""
    try:
        return decode(topic, value, NOW_MS).model_dump()
    except Malformed:
        return "refused"


by_pydantic_once = cache(by_pydantic)
PIECE = 256
"""So many records the decoder looks at in one go."""
LENGTHS = st.integers(PIECE + 44, 2 * PIECE + 88) | st.sampled_from(
    [PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1]
)
BORDERS = (0, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1)


def numbers() -> st.SearchStrategy[float | int]:
    """Return numbers about the limits."""
    edges = st.sampled_from([0, 1, -1, 0.5, 1.0, 1e12, -1e12, 1.1e12, 2**63, 2**64, NOW_MS + MAX_AHEAD_MS])
    return edges | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def values() -> st.SearchStrategy[Any]:
    """Return JSON values about the limits of names, texts and numbers."""
    texts = st.text(ALPHABET, max_size=6) | st.sampled_from(
        ["a" * 128, "a" * 129, "é" * 256, "é" * 257, "a\n", "\x7f"]
    )
    scalars = st.none() | st.booleans() | numbers() | texts
    return scalars | st.dictionaries(texts, scalars, max_size=4) | st.lists(scalars, max_size=2)


@st.composite
def records(draw: st.DrawFn, topic: str) -> bytes:
    """Return a record that is valid, or has some fields replaced, removed or added."""
    fields = dict(VALID[topic])
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=2)):
        fields.pop(name, None)
    names = [*sorted(VALID[topic]), *OTHER_FIELDS]
    fields.update(draw(st.dictionaries(st.sampled_from(names), values(), max_size=2)))
    return json.dumps(fields, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_good_batch_is_decoded_as_pydantic_does(topic: str) -> None:
    """Facts, escapes and all, have the values that the models give them, and unknown fields do no harm."""
    escaped = json.dumps({**VALID[topic], "new": [1, {"a": None}]}).encode()
    raw = json.dumps(VALID[topic], ensure_ascii=False).encode()
    assert [plain(fact) for fact in hot.decode_batch(topic, [raw, escaped], NOW_MS)] == [
        by_pydantic(topic, raw)
    ] * 2


@pytest.mark.parametrize("topic", TOPICS)
@CAREFUL
@given(data=st.data())
def test_the_two_decoders_agree(topic: str, data: st.DataObject) -> None:
    """Whatever a field holds, msgspec and pydantic accept the same records and see the same values."""
    value = data.draw(records(topic))
    assert plain(hot.decode_batch(topic, [value], NOW_MS)[0]) == by_pydantic(topic, value)


@pytest.mark.parametrize("topic", TOPICS)
@CAREFUL
@given(data=st.data())
def test_a_batch_is_its_records_one_by_one(topic: str, data: st.DataObject) -> None:
    """No record changes what its neighbours mean, not even pieces that fit together."""
    piece = st.sampled_from(PIECES) | st.binary(max_size=12)
    cut = records(topic).flatmap(lambda value: st.integers(0, len(value)).map(lambda at: value[:at]))
    batch = data.draw(st.lists(records(topic) | piece | cut | st.none(), max_size=6))
    expected = [hot.decode_batch(topic, [value], NOW_MS)[0] for value in batch]
    assert hot.decode_batch(topic, batch, NOW_MS) == expected


def spoiled(topic: str) -> dict[str, bytes | None]:
    """Return one record of each kind that is no fact, by what is wrong with it. The first five break what
    only a look at the whole batch finds; the others end the decoding of theirs."""
    good, raw = VALID[topic], json.dumps(VALID[topic], ensure_ascii=False).encode()
    key = {"exposures": "variant", "conversions": "name"}.get(topic, "model")
    return {
        "escaped control": json.dumps({**good, "unit_id": "a\0b"}).encode(),
        "raw control": json.dumps({**good, "unit_id": "a\x7fb"}, ensure_ascii=False).encode(),
        "broken text in a field that is skipped": raw[:-1] + b',"new":"\xff"}',
        "from the day after tomorrow": json.dumps(
            {**good, "occurred_at_ms": NOW_MS + MAX_AHEAD_MS + 1}
        ).encode(),
        "no key": json.dumps({**good, key: "a\n"}).encode(),
        "broken text": raw.replace("Zoë".encode(), b"Zo\xff"),
        "wrong type": json.dumps({**good, "unit_id": 7}).encode(),
        "another topic's": json.dumps({**good, "type": "other"}).encode(),
        "truncated": raw[:-2],
        "tombstone": None,
    }


@pytest.mark.parametrize("topic", TOPICS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_long_batch_is_its_records_one_by_one(topic: str, data: st.DataObject) -> None:
    """Of hundreds of good records and a few bad ones, wherever these lie, the bad ones alone are refused: as
    pydantic says of each record by itself."""
    good = [
        json.dumps({**VALID[topic], "unit_id": unit}, ensure_ascii=escaped).encode()
        for unit in ("u", "Zoë")
        for escaped in (True, False)
    ]
    chosen = data.draw(st.sampled_from([good[:1], good[3:], good]))  # ASCII, not ASCII, and both
    batch: list[bytes | None] = [chosen[place % len(chosen)] for place in range(data.draw(LENGTHS))]
    places = st.sampled_from(BORDERS) | st.integers(0, len(batch) - 1)
    kinds = spoiled(topic)
    bad = data.draw(st.dictionaries(places, st.sampled_from(sorted(kinds)), max_size=3))
    for place, kind in bad.items():
        batch[min(place, len(batch) - 1)] = kinds[kind]
    found = [plain(fact) for fact in hot.decode_batch(topic, batch, NOW_MS)]
    assert found == [by_pydantic_once(topic, value) for value in batch]
    assert found.count("refused") == sum(value in kinds.values() for value in batch)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_bad_record_does_not_make_its_neighbours_dear(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some records of a batch parse and yet break a limit, these alone are looked at one by one."""
    looked: list[object] = []
    look = hot._broken_limit
    monkeypatch.setattr(hot, "_broken_limit", lambda *given: looked.append(given[1]) or look(*given))
    good = json.dumps(VALID[topic]).encode()
    kinds = list(spoiled(topic).values())
    batch: list[bytes | None] = [good] * 3_000
    for place, value in enumerate(kinds):
        batch[100 + 256 * place] = value
    found = hot.decode_batch(topic, batch, NOW_MS)
    assert [place for place, each in enumerate(found) if isinstance(each, str)] == [
        100 + 256 * place for place in range(len(kinds))
    ]
    assert len(looked) == 5


def test_the_halves_of_a_good_batch_do_not_merge() -> None:
    """Two records that together make one, and one that holds two, are three bad records."""
    good = json.dumps(VALID["conversions"]).encode()
    halves = [good[:-1] + b',"x":[{}', b"{}]}", good + b"," + good, good]
    answers = hot.decode_batch("conversions", halves, NOW_MS)
    assert [isinstance(each, str) for each in answers] == [True, True, True, False]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_id": "a" * 257}, "event_id"),
        ({"unit_id": "a\n"}, "unit_id"),
        ({"variant": "a/b"}, "variant"),
        ({"experiment_id": "exp\n"}, "experiment_id"),
        ({"occurred_at_ms": NOW_MS + MAX_AHEAD_MS + 1}, "occurred_at_ms"),
        ({"attributes": {"tab\t": 1}}, "attributes.tab\t"),
        ({"attributes": {f"a{i}": i for i in range(33)}}, "attributes"),
        ({"propensity": 1.01}, "propensity"),
        ({"type": "conversion"}, "type"),
    ],
)
def test_the_reason_names_the_field(change: dict[str, Any], field: str) -> None:
    """Whoever reads a dead letter learns which field to look at."""
    bad = json.dumps({**VALID["exposures"], **change}).encode()
    (reason,) = hot.decode_batch("exposures", [bad], NOW_MS)
    assert isinstance(reason, str)
    assert reason.startswith(field)


def test_what_is_not_json_is_refused_with_a_reason_of_bounded_length() -> None:
    """A tombstone, rubbish, a deep nest, NaN and a huge name are refused without falling over."""
    good = json.dumps(VALID["exposures"]).encode()
    bad = [
        None,
        b"",
        b"\xff\xfe",
        good[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        good[:-1] + b',"x":NaN}',
        good[:-1] + b',"x":"\xff"}',
        good[:-1] + b',"attributes":{"' + b"a" * 10_000 + b'":1}}',
    ]
    reasons = hot.decode_batch("exposures", bad, NOW_MS)
    assert all(isinstance(reason, str) and 0 < len(reason) <= hot.MAX_REASON_CHARS for reason in reasons)


def test_an_empty_batch_is_empty_and_a_strange_topic_an_error() -> None:
    """Nothing in, nothing out; asking for a topic without hot facts is a defect of the caller."""
    assert hot.decode_batch("exposures", [], NOW_MS) == []
    with pytest.raises(KeyError):
        hot.decode_batch("verdicts", [b"{}"], NOW_MS)
