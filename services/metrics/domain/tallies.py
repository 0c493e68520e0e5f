"""The running sums of an experiment in one partition: integers that are only ever added to and taken from."""

from libs.statistics.quantile_sketch import Sketch
from libs.statistics.sums import Sums
from services.metrics.domain.definitions import Plan
from services.metrics.domain.segments import digits

HOUR_MS = 60 * 60 * 1_000

UNITS, EXPOSURES, CONVERSIONS, TOUCHED = range(4)
"""Places in the list of an hour: three counts, and whether it changed since it was published."""

METRIC_SUMS = 6
"""Converted units, Σy, Σy², Σx, Σx², Σxy."""

Change = tuple[int, int, int, int, int, int]
"""What is to be added to these."""


def to_sums(units: int, sums: list[int]) -> Sums:
    """Return the sums of so many units."""
    return Sums(units, *sums)


class Cell:
    """The units of one variant in one segment of one breakdown."""

    __slots__ = ("metrics", "touched", "units")

    def __init__(self, metrics: int) -> None:
        self.units = 0
        self.touched = True
        """Whether it changed since it was published."""
        self.metrics = [[0] * METRIC_SUMS for _ in range(metrics)]


class VariantTally:
    """One variant's counts, and per metric of the plan its sums in micro-units."""

    __slots__ = (
        "cells",
        "conversions",
        "exposures",
        "hours",
        "key",
        "last_exposed_ms",
        "metrics",
        "place",
        "sketches",
        "tally",
        "touched",
        "units",
    )

    def __init__(self, key: str, place: int, tally: "ExperimentTally") -> None:
        self.key = key
        self.place = place
        self.tally = tally
        self.units = 0
        """Units in the sample: exposed to this variant and to no other."""
        self.exposures = 0
        """Distinct exposures that name this variant, those of crossed units included."""
        self.conversions = 0
        """Distinct conversions of units in the sample that count for at least one metric."""
        self.last_exposed_ms = 0
        """When the latest of these exposures happened, at most when it was written to the log: a clock that
        is ahead does not count. 0: there is none."""
        self.hours: dict[int, list[int]] = {}
        """By hour since 1970."""
        self.touched: list[int] = []
        """Hours that changed since they were published."""
        self.metrics: list[list[int]] = []
        self.sketches: dict[int, Sketch] = {}
        """By the place of a quantile in the plan: the values of the units that converted."""
        self.cells: dict[tuple[int, int], Cell] = {}
        """By breakdown and digit."""
        self.clear()

    def clear(self) -> None:
        """Start what the plan decides again at zero; exposures stay."""
        self.units = self.conversions = 0
        self.metrics = [[0] * METRIC_SUMS for _ in self.tally.plan.metrics]
        self.sketches = {}
        # What was published of a cell must be published again, though nobody may be in it any more.
        self.cells = {place: Cell(len(self.metrics)) for place in self.cells}
        for number, hour in self.hours.items():
            hour[UNITS] = hour[CONVERSIONS] = 0
            self._touch(number, hour)

    def hour(self, number: int) -> list[int]:
        """Return the counts of this hour since 1970; they are about to change."""
        hour = self.hours.get(number)
        if hour is None:
            hour = self.hours[number] = [0, 0, 0, 0]
        if not hour[TOUCHED]:
            self._touch(number, hour)
        return hour

    def _touch(self, number: int, hour: list[int]) -> None:
        if not hour[TOUCHED]:
            hour[TOUCHED] = 1
            self.touched.append(number)

    def cells_of(self, segment: int) -> list[Cell]:
        """Return the cells that a unit of this segment counts in; they are about to change."""
        breakdowns = self.tally.plan.breakdowns
        found = []
        for place in enumerate(digits(segment, len(breakdowns))):
            cell = self.cells.get(place)
            if cell is None:
                cell = self.cells[place] = Cell(len(self.metrics))
            cell.touched = True
            found.append(cell)
        return found

    def add_units(self, segment: int, units: int) -> None:
        """Count so many more units of this segment, or fewer."""
        self.units += units
        if self.tally.plan.breakdowns:
            for cell in self.cells_of(segment):
                cell.units += units

    def add(self, segment: int, index: int, change: Change) -> None:
        """Add to the sums of the metric at this place of the plan what units of this segment changed."""
        _add(self.metrics[index], change)
        if self.tally.plan.breakdowns:
            for cell in self.cells_of(segment):
                _add(cell.metrics[index], change)

    def add_to_sketch(self, index: int, key: int, units: int) -> None:
        """Count so many more units, or fewer, in a bin of the quantile at this place of the plan."""
        sketch = self.sketches.setdefault(index, {})
        sketch[key] = sketch.get(key, 0) + units
        if not sketch[key]:
            del sketch[key]


def _add(sums: list[int], change: Change) -> None:
    for place, more in enumerate(change):
        sums[place] += more


class ExperimentTally:
    """One experiment in one partition."""

    __slots__ = (
        "changed", "closes_ms", "crossed_units", "experiment_id", "known", "latest_ms", "plan", "variants",
        "waiting",
    )  # fmt: skip

    def __init__(self, experiment_id: str, plan: Plan) -> None:
        self.experiment_id = experiment_id
        self.variants: dict[str, VariantTally] = {}
        self.crossed_units = 0
        self.latest_ms = 0
        """The latest event time of its exposures and of its units' conversions, whether they count or not."""
        self.changed = False
        self.known = False
        """Whether anybody defined it."""
        self.closes_ms: int | None = None
        """Once it has ended: exposures with a later event time count for nothing."""
        self.waiting: dict[int, dict[str, str | bool | float]] = {}
        """While nobody has defined it: the attributes of its units' first exposures, by the unit's hash."""
        self.adopt(plan)

    def adopt(self, plan: Plan) -> None:
        """Take on a plan and start its sums at zero; the caller counts the units in again."""
        self.plan = plan
        self.crossed_units = 0
        for variant in self.variants.values():
            variant.clear()
