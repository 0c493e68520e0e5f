"""Names and numbers with limits: the types that every event is made of."""

from typing import Annotated

from pydantic import Field, StringConstraints

MAX_ID_CHARS = 256
MAX_KEY_CHARS = 128
MAX_TEXT_CHARS = 2_000
MAX_FEATURES = 512
MAX_ATTRIBUTES = 32
MAX_VALUE = 1e12
MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""
MAX_AHEAD_MS = 24 * 60 * 60 * 1_000
"""How far in the future an event may lie before it is refused."""
MAX_BEHIND_MS = 366 * 24 * 60 * 60 * 1_000
"""How far behind the record that brings it an event may lie and still count: the longest window there is."""

_NO_CONTROL = r"^[^\x00-\x1f\x7f]+$"

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS, pattern=_NO_CONTROL)]
"""An identity: 1 to 256 characters, any script, no control characters."""

UnitId = Id

Key = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY_CHARS, pattern=r"^[A-Za-z0-9_.\-]+$")]
"""A name that stands in URLs, topics' keys and hashes: letters, digits, `_`, `.`, `-`."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY_CHARS, pattern=_NO_CONTROL)]
"""A free name: of a feature, an attribute, a conversion."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
ShortText = Annotated[str, StringConstraints(max_length=MAX_ID_CHARS)]

TimeMs = Annotated[int, Field(ge=0, le=MAX_TIME_MS)]
"""Milliseconds since 1970-01-01T00:00:00Z."""

DurationMs = Annotated[int, Field(ge=0, le=366 * 24 * 60 * 60 * 1_000)]
Value = Annotated[float, Field(ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]

Attributes = Annotated[dict[Name, ShortText | bool | Value], Field(max_length=MAX_ATTRIBUTES)]
Features = Annotated[dict[Name, Value | bool | ShortText | None], Field(max_length=MAX_FEATURES)]
Label = Value | ShortText
"""What a model answered or what was true: a number for regressors, a class name for classifiers."""

Offsets = dict[str, Count]
"""`topic-partition` to the next offset: all records before it are in."""
