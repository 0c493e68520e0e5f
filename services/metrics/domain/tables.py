"""What is remembered of units, as tables of numbers: about 200 bytes a unit and experiment, all told."""

from typing import ClassVar

import numpy as np

from services.metrics.domain.columns import I32, I64, U64, Table

CROSSED = -1
"""Stands for the segment of a unit seen in two variants: counted apart, in neither. It never returns."""

Types = dict[str, type[np.generic]]


class Units(Table):
    """Every unit that was exposed or converted."""

    key: U64
    """Hash of its id."""
    enrolment: I32
    """Its latest enrolment; the others follow by `Enrolments.after`. NONE: it was never exposed."""
    conversion: I32
    """Its latest conversion; the others follow by `Conversions.after`. NONE: there is none."""
    conversions: I32
    """How many it has."""
    types: ClassVar[Types] = {
        "key": np.uint64,
        "enrolment": np.int32,
        "conversion": np.int32,
        "conversions": np.int32,
    }


class Enrolments(Table):
    """A unit in a variant of an experiment. Two of the same experiment: the unit is crossed."""

    key: U64
    """The unit's row and the variant's place, see `key_of`."""
    unit: I32
    place: I32
    at_ms: I64
    """The event time of the first exposure to the variant."""
    first: U64
    """The hash of that exposure's id."""
    segment: I32
    """Where the attributes of the first exposure put the unit (see `segments.py`), or CROSSED."""
    exposures: I32
    """How many are remembered."""
    values: I32
    """The row of `Values` for its experiment's first metric; the others follow."""
    after: I32
    """The unit's enrolment before this one, or NONE."""
    types: ClassVar[Types] = {
        "key": np.uint64,
        "unit": np.int32,
        "place": np.int32,
        "at_ms": np.int64,
        "first": np.uint64,
        "segment": np.int32,
        "exposures": np.int32,
        "values": np.int32,
        "after": np.int32,
    }


class Values(Table):
    """What the conversions of an enrolment come to in one metric."""

    count: I32
    """Conversions within the window after the first exposure, and their sum in micro-units."""
    total: I64
    before: I32
    """Conversions within the covariate's window before it, and their sum. Of a ratio: the
    denominator's, within the window after it."""
    before_total: I64
    types: ClassVar[Types] = {
        "count": np.int32,
        "total": np.int64,
        "before": np.int32,
        "before_total": np.int64,
    }


class Exposures(Table):
    """The exposures that were counted: known again when they are repeated."""

    key: U64
    """Hash of the event's id within unit and experiment."""
    enrolment: I32
    types: ClassVar[Types] = {"key": np.uint64, "enrolment": np.int32}


class Conversions(Table):
    """The conversions of all units, wanted by a metric or not."""

    key: U64
    """Hash of the event's id within the unit."""
    unit: I32
    name: U64
    """Hash of the conversion's name."""
    at_ms: I64
    micro: I64
    """The value in micro-units."""
    after: I32
    """The unit's conversion before this one, or NONE."""
    types: ClassVar[Types] = {
        "key": np.uint64,
        "unit": np.int32,
        "name": np.uint64,
        "at_ms": np.int64,
        "micro": np.int64,
        "after": np.int32,
    }
