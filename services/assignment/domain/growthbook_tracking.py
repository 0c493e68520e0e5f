"""What GrowthBook's `trackingCallback` hands over, read as an exposure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, JsonValue, ValidationError

from schemas.decode import Malformed, first_problem
from schemas.event import Contract
from schemas.names import Key, UnitId
from services.assignment.domain.growthbook import HASH_ATTRIBUTE

WholeNumber = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""What JavaScript writes with all its digits: an id that is a number."""


class TrackedExperiment(Contract):
    """The first argument of the callback, as far as we need it."""

    key: Key
    phase: JsonValue = None


class TrackedResult(Contract):
    """The second argument of the callback, as far as we need it."""

    key: Key
    hash_value: Annotated[UnitId | WholeNumber, Field(alias="hashValue")]
    hash_attribute: Annotated[str, Field(alias="hashAttribute")] = HASH_ATTRIBUTE
    in_experiment: Annotated[bool, Field(alias="inExperiment")]
    hash_used: Annotated[bool, Field(alias="hashUsed")] = True


class TrackedItem(Contract):
    """One call of the callback, as JSON."""

    experiment: TrackedExperiment
    result: TrackedResult
    attributes: dict[str, JsonValue] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tracked:
    """An exposure as the SDK tells it."""

    experiment_id: str
    unit_id: str
    variant: str
    revision: int
    """Of the experiment, that the SDK went by; 0 when it does not say."""
    attributes: Mapping[str, JsonValue] = field(default_factory=dict)


def read_tracked(item: object) -> Tracked | None:
    """Return the exposure of one item; None when the unit takes no part or was forced. Raises Malformed."""
    if not isinstance(item, dict):
        raise Malformed("", 'an exposure is {"experiment": {...}, "result": {...}}')
    try:
        read = TrackedItem.model_validate(item)
    except ValidationError as error:
        raise first_problem(error, lambda: item) from error
    if not (read.result.in_experiment and read.result.hash_used):
        return None
    if read.result.hash_attribute != HASH_ATTRIBUTE:
        raise Malformed("result.hashAttribute", f"units are known by the attribute {HASH_ATTRIBUTE!r}")
    return Tracked(
        experiment_id=read.experiment.key,
        unit_id=str(read.result.hash_value),
        variant=read.result.key,
        revision=_revision(read.experiment.phase),
        attributes=read.attributes,
    )


def _revision(phase: JsonValue) -> int:
    text = str(phase)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
