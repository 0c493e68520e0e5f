"""From a record of the log to what the audit keeps of it: little, as there may be millions."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from libs.common.bus.ports import Record
from schemas.decode import Malformed, decode
from schemas.experiments import Experiment
from schemas.facts import Conversion, Exposure
from schemas.names import MAX_BEHIND_MS

Attribute: TypeAlias = str | bool | float


class Met(NamedTuple):
    """A unit met a variant of the experiment. Of its attributes those of the breakdowns."""

    offset: int
    event_id: str
    at_ms: int
    unit_id: str
    variant: str
    attributes: Mapping[str, Attribute]
    seen_ms: int = 0
    """`at_ms`, or when the record was written where that is earlier."""


class Did(NamedTuple):
    """A unit converted."""

    offset: int
    event_id: str
    at_ms: int
    unit_id: str
    name: str
    value: float


class LeftOut(ValueError):
    """A record that counts for nothing: malformed, or too far from the time of its record."""


def admitted(record: Record) -> Exposure | Conversion:
    """Return the event in a record of `exposures` or `conversions`.

    Raises LeftOut when it is malformed, or when its time lies more than MAX_AHEAD_MS after the time stamp of
    its record or more than MAX_BEHIND_MS before it. The machine's clock plays no part: a recount in a year
    finds the same.
    """
    try:
        event = decode(record.topic, record.value, record.timestamp_ms)
    except Malformed as error:
        raise LeftOut(str(error)) from error
    if not isinstance(event, Exposure | Conversion):
        raise LeftOut(f"{record.topic} carries neither exposures nor conversions")
    if event.occurred_at_ms < record.timestamp_ms - MAX_BEHIND_MS:
        raise LeftOut("occurred_at_ms: lies too far behind the record")
    return event


def met(record: Record, experiment: Experiment) -> Met | None:
    """Return what a record of `exposures` says of the experiment; None when it is about another one.
    Raises LeftOut."""
    event = admitted(record)
    if not isinstance(event, Exposure) or event.experiment_id != experiment.experiment_id:
        return None
    wanted = {
        each.attribute: event.attributes[each.attribute]
        for each in experiment.breakdowns
        if each.attribute in event.attributes
    }
    at_ms = event.occurred_at_ms
    seen_ms = min(at_ms, record.timestamp_ms)
    return Met(record.offset, event.event_id, at_ms, event.unit_id, event.variant, wanted, seen_ms)


def did(record: Record) -> Did | None:
    """Return what a record of `conversions` says. Raises LeftOut."""
    event = admitted(record)
    if not isinstance(event, Conversion):
        return None
    return Did(record.offset, event.event_id, event.occurred_at_ms, event.unit_id, event.name, event.value)
