"""What is compared: numbers, each at its place."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, TypeAlias

Place: TypeAlias = tuple[str, ...]
"""Words from the outside in, the number last: ("metric", "revenue", "variant", "a", "total")."""

Number: TypeAlias = int | float | Decimal | None
"""None: a mean or a variance of too few units. Decimal: a stored number that should be whole and is not."""

Numbers: TypeAlias = Mapping[Place, Number]
"""Zero equals absent."""


class Between(NamedTuple):
    """Any number from `low` to `high`, both included: where the log does not decide which one."""

    low: int
    high: int


Expected: TypeAlias = Number | Between
Expectations: TypeAlias = Mapping[Place, Expected]
"""What the log says that must be published. Zero equals absent."""

EXPERIMENT = "experiment"
VARIANT = "variant"
METRIC = "metric"
HOUR = "hour"
SEGMENT = "segment"

MULTI_VARIANT_UNITS: Place = (EXPERIMENT, "multi_variant_units")
LATEST_MS: Place = (EXPERIMENT, "latest_ms")
"""How far in event time ingest has come: a watermark, not a count, see `recompute.Recounted`."""


def of_variant(variant: str, number: str) -> Place:
    """Return the place of a variant's count."""
    return (VARIANT, variant, number)


def of_last_exposed(variant: str) -> Place:
    """Return the place of when the latest exposure to a variant happened."""
    return ("last_exposed_ms", variant)


def of_metric(metric: str, variant: str, *number: str) -> Place:
    """Return the place of a metric's sum in a variant; without a number's name, what they have in common."""
    return (METRIC, metric, VARIANT, variant, *number)


def of_bin(metric: str, variant: str, key: int | str) -> Place:
    """Return the place of the number of units in a bin of a quantile's sketch."""
    return (METRIC, metric, VARIANT, variant, "bin", str(key))


def of_hour(hour_ms: int, variant: str, number: str) -> Place:
    """Return the place of a variant's count in the hour that began at `hour_ms`."""
    return (HOUR, str(hour_ms), VARIANT, variant, number)


@dataclass(frozen=True, slots=True)
class Segment:
    """The units whose first exposure has a value of an attribute. `kind`: value, other or missing."""

    attribute: str
    kind: str
    value: str

    def of_metric(self, metric: str, variant: str, *number: str) -> Place:
        """Return the place of a metric's sum in the units of a variant that are in this segment."""
        return (SEGMENT, self.attribute, self.kind, self.value, *of_metric(metric, variant, *number))


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not the same."""

    where: Place
    published: Number
    recomputed: Expected


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many numbers were compared, and those that differ, in the order of their places."""

    numbers: int = 0
    differences: tuple[Difference, ...] = ()

    def __add__(self, other: "Comparison") -> "Comparison":
        """Return both together."""
        return Comparison(self.numbers + other.numbers, self.differences + other.differences)


def compare(where: str, published: Numbers, recomputed: Expectations) -> Comparison:
    """Compare every number that either side has; `where` goes before the place of each difference."""
    places = sorted(published.keys() | recomputed.keys())
    return Comparison(len(places), tuple(_differences(where, places, published, recomputed)))


def _differences(
    where: str, places: Iterable[Place], published: Numbers, recomputed: Expectations
) -> Iterable[Difference]:
    for place in places:
        one, other = published.get(place, 0), recomputed.get(place, 0)
        if not _agree(one, other):
            yield Difference((where, *place), one, other)


def _agree(published: Number, expected: Expected) -> bool:
    if isinstance(expected, Between):
        return published is not None and expected.low <= published <= expected.high
    return published == expected
