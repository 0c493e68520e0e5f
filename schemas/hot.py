"""The four unit-keyed facts again, as msgspec Structs: what the readers of every event decode.

Same fields, same limits, same tolerance of unknown fields as `schemas/facts.py`; a test holds the two
together on every example and on thousands of made-up records. Each record is decoded by itself, so that
none can touch its neighbours: joining a batch into one JSON array was measured too and gains nothing, since
decoding costs what it costs and the checks that would make the joint safe cost more than they save.

Patterns are not given to msgspec, which would call Python for each string (six times slower). Instead a
batch is checked as a whole: the few distinct keys once each, control characters only where a record holds
an escape (raw ones are not JSON), the time by its maximum.

An empty dict as a default would be made anew for every fact, which is a third of decoding it: attributes that
a fact does not have are `UNSET`, which is falsy.

Where the two may differ is in the parts that neither keeps: an unknown field that holds NaN, a number of
thousands of digits or hundreds of nested arrays, and a field given twice of which only the last is valid.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Annotated, NamedTuple, TypeAlias, TypeVar, cast

from msgspec import UNSET, DecodeError, Meta, Struct, UnsetType
from msgspec import ValidationError as MsgspecInvalid
from msgspec.json import Decoder

from schemas.decode import Malformed, decode
from schemas.names import (
    MAX_AHEAD_MS,
    MAX_ATTRIBUTES,
    MAX_FEATURES,
    MAX_ID_CHARS,
    MAX_KEY_CHARS,
    MAX_TIME_MS,
    MAX_VALUE,
)

T = TypeVar("T")
_Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
_Key: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]
_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]
_ShortText: TypeAlias = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
_TimeMs: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]
_Value: TypeAlias = Annotated[float, Meta(ge=-MAX_VALUE, le=MAX_VALUE)]
_Probability: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
_Attributes: TypeAlias = Annotated[dict[_Name, _ShortText | bool | _Value], Meta(max_length=MAX_ATTRIBUTES)]
_Features: TypeAlias = Annotated[
    dict[_Name, _ShortText | bool | _Value | None], Meta(max_length=MAX_FEATURES)
]
_Label: TypeAlias = _Value | _ShortText


class HotFact(Struct, gc=False, frozen=True, tag_field="type"):
    """Something that happened to one unit at one time. Holds no cycles, so the collector need not look."""

    event_id: _Id
    occurred_at_ms: _TimeMs
    unit_id: _Id


class Exposure(HotFact, gc=False, frozen=True, tag="exposure"):
    """A unit met a variant of an experiment."""

    experiment_id: _Key
    variant: _Key
    revision: Annotated[int, Meta(ge=0)] = 0
    attributes: _Attributes | UnsetType = UNSET
    propensity: _Probability | None = None


class Prediction(HotFact, gc=False, frozen=True, tag="prediction"):
    """One answer of a model."""

    model: _Key
    model_version: _Key
    features: _Features
    output: _Label
    confidence: _Probability | None = None
    latency_ms: Annotated[float, Meta(ge=0, le=1e9)] | None = None


class Conversion(HotFact, gc=False, frozen=True, tag="conversion"):
    """A unit did something that is counted."""

    name: _Name
    value: _Value = 1.0
    attributes: _Attributes | UnsetType = UNSET


class Feedback(HotFact, gc=False, frozen=True, tag="feedback"):
    """The truth (`label`) or an opinion (`rating`) about one prediction."""

    prediction_id: _Id
    model: _Key
    label: _Label | None = None
    rating: _Probability | None = None

    def __post_init__(self) -> None:
        """Raise ValueError when it says nothing."""
        if self.label is None and self.rating is None:
            raise ValueError("feedback needs a label or a rating")


AnyHotFact: TypeAlias = Exposure | Prediction | Conversion | Feedback

_DECODERS: dict[str, Callable[[bytes], AnyHotFact]] = {
    "exposures": Decoder(Exposure).decode,
    "predictions": Decoder(Prediction).decode,
    "conversions": Decoder(Conversion).decode,
    "feedback": Decoder(Feedback).decode,
}
_KEYS: dict[str, tuple[Callable[[AnyHotFact], str], ...]] = {
    "exposures": (attrgetter("experiment_id"), attrgetter("variant")),
    "predictions": (attrgetter("model"), attrgetter("model_version")),
    "conversions": (),
    "feedback": (attrgetter("model"),),
}
_time: Callable[[AnyHotFact], int] = attrgetter("occurred_at_ms")
_is_key = re.compile(r"[A-Za-z0-9_.\-]+").fullmatch
_is_missing = re.compile(r"Object missing required field `(\w+)`").fullmatch
_has_control = re.compile(r"[\x00-\x1f\x7f]").search

# A deep unknown field ends msgspec in RecursionError, a broken UTF-8 sequence in UnicodeDecodeError, and a
# missing value in TypeError.
_BROKEN = (DecodeError, UnicodeDecodeError, RecursionError, TypeError)

MAX_REASON_CHARS = 500
_PIECE = 256
"""So many values are looked at in one go: more would not stay in the processor's cache."""


class Sorted(NamedTuple):
    """What a batch holds: its facts, in order, and the places of all other values, in order, with reasons."""

    facts: list[AnyHotFact]
    refused: list[tuple[int, str]]

    def places(self, rows: Sequence[int]) -> list[int]:
        """Return the places in the batch of the facts in these rows."""
        facts_before = [place - count for count, (place, _) in enumerate(self.refused)]
        return [row + bisect_right(facts_before, row) for row in rows]


def decode_batch(topic: str, values: Sequence[bytes | None], now_ms: int) -> list[AnyHotFact | str]:
    """Return, at the place of each value, its fact, or the reason why it is none: see `sort_batch`."""
    facts, refused = sort_batch(topic, values, now_ms)
    found: list[AnyHotFact | str] = [*facts]
    for place, reason in refused:
        found.insert(place, reason)
    return found


def sort_batch(topic: str, values: Sequence[bytes | None], now_ms: int) -> Sorted:
    """Return the facts, and which values are none, with the reason (at most 500 characters).

    A value is none when it does not parse, breaks a limit, or lies more than a day after `now_ms`. The reason
    names the same field as that of `schemas.decode` where one alone is wrong, whatever the neighbours are.
    Raises KeyError for a topic that is not unit-keyed.
    """
    facts: list[AnyHotFact] = []
    refused: list[tuple[int, str]] = []
    rest = iter(cast("Sequence[bytes]", values))
    while True:
        try:
            facts.extend(map(_DECODERS[topic], rest))
            break
        except _BROKEN as error:  # what came before it is in the list already
            place = len(facts) + len(refused)
            refused.append((place, _named(error) or _reason(topic, values[place], now_ms, str(error))))
    whole = cast("list[bytes]", without(values, [place for place, _ in refused]))
    broken = [
        (row, reason)
        for row in sorted(_suspects(topic, facts, whole, now_ms))
        if (reason := _broken_limit(topic, facts[row], whole[row], now_ms))
    ]
    if not broken:
        return Sorted(facts, refused)
    rows, reasons = zip(*broken, strict=True)
    found = zip(Sorted(facts, refused).places(rows), reasons, strict=True)
    return Sorted(list(without(facts, rows)), sorted([*refused, *found]))


def without(things: Sequence[T], places: Sequence[int]) -> Sequence[T]:
    """Return what is not at these few places, which rise."""
    if not places:
        return things
    kept: list[T] = []
    start = 0
    for place in places:
        kept += things[start:place]
        start = place + 1
    kept += things[start:]
    return kept


def _suspects(topic: str, facts: Sequence[AnyHotFact], values: Sequence[bytes], now_ms: int) -> set[int]:
    """Return the rows of the facts that may break a limit. One bad record must not make the others dear: what
    is good as a whole is not looked into, and no check looks further than where it fails."""
    found: set[int] = set()
    for start in range(0, len(values), _PIECE):
        piece = slice(start, start + _PIECE)
        whole = b"".join(values[piece])  # as it is, so is each: every value starts and ends with ASCII
        if not _is_text(whole):
            found.update(row for row, value in enumerate(values[piece], start) if not _is_text(value))
        if _may_hold_controls(whole):
            rows = [row for row, value in enumerate(values[piece], start) if _may_hold_controls(value)]
            found.update(row for row in rows if _has_control("".join(_names(facts[row]))))
    latest_ms = now_ms + MAX_AHEAD_MS
    if max(map(_time, facts), default=0) > latest_ms:
        found.update(row for row, at_ms in enumerate(map(_time, facts)) if at_ms > latest_ms)
    for key in _KEYS[topic]:
        wrong = {each for each in set(map(key, facts)) if not _is_key(each)}
        if wrong:
            found.update(row for row, each in enumerate(map(key, facts)) if each in wrong)
    return found


def _may_hold_controls(value: bytes) -> bool:
    return b"\\" in value or b"\x7f" in value


def _broken_limit(topic: str, fact: AnyHotFact, value: bytes, now_ms: int) -> str:
    """Return "" for a good fact."""
    good = (
        _is_text(value)
        and fact.occurred_at_ms <= now_ms + MAX_AHEAD_MS
        and all(_is_key(key(fact)) for key in _KEYS[topic])
        and not _has_control("".join(_names(fact)))
    )
    return "" if good else _reason(topic, value, now_ms, "breaks a limit")


def _names(fact: AnyHotFact) -> Iterator[str]:
    yield fact.event_id
    yield fact.unit_id
    match fact:
        case Exposure():
            yield from fact.attributes or ()
        case Prediction():
            yield from fact.features
        case Conversion():
            yield fact.name
            yield from fact.attributes or ()
        case Feedback():
            yield fact.prediction_id


def _is_text(value: bytes) -> bool:
    """Return True for UTF-8. msgspec does not look into what it skips; pydantic does."""
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _named(error: Exception) -> str:
    """Return msgspec's words where they name a field or no field can be named, "" elsewhere: pydantic's cost
    five times as much, which counts where one record in a hundred is poison."""
    if isinstance(error, UnicodeDecodeError) or str(error) == "Input data was truncated":
        return f"Invalid JSON: {error}"[:MAX_REASON_CHARS]
    if not isinstance(error, MsgspecInvalid):
        return ""
    problem, _, path = str(error).partition(" - at `$.")
    missing = _is_missing(problem)
    if "[" in path or not (path or missing):
        return ""  # the name of an attribute, or the whole
    if missing:
        return f"{missing[1]}: Field required"
    return f"{path[:-1]}: {problem}"[:MAX_REASON_CHARS]


def _reason(topic: str, value: bytes | None, now_ms: int, otherwise: str) -> str:
    """Return pydantic's words, which name the field; `otherwise` where it finds nothing wrong."""
    try:
        decode(topic, value, now_ms)
    except Malformed as error:
        return str(error)[:MAX_REASON_CHARS]
    return otherwise[:MAX_REASON_CHARS]
