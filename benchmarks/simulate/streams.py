"""Units that come in batches and are assigned by lot, as the sums that a judge sees after every batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.simulate.populations import Floats, Ints, Population
from libs.statistics.sums import MICRO, Sums

_AT_ONCE = 1_000_000
"""Units that are drawn together, so that they stay in the cache."""
BATCH = (50, 100)


class Tally(NamedTuple):
    """The columns of `Sums` in grains, each an array of runs by looks."""

    units: Ints
    converted: Ints
    total: Ints
    squares: Ints
    x: Ints
    xx: Ints
    xy: Ints


@dataclass(frozen=True, slots=True)
class Watched:
    """Many runs of one experiment of two variants, at every look."""

    treatment: Tally
    control: Tally
    grain: int = MICRO

    @property
    def shape(self) -> tuple[int, int]:
        """Return runs and looks."""
        runs, looks = self.treatment.units.shape
        return runs, looks

    def sums(self, run: int, look: int) -> tuple[Sums, Sums]:
        """Return the treatment's and control's exact sums, as the product would have them."""
        one, zero = (self._sums(each, run, look) for each in (self.treatment, self.control))
        return one, zero

    def _sums(self, tally: Tally, run: int, look: int) -> Sums:
        n, k, y, yy, x, xx, xy = (int(each[run, look]) for each in tally)
        g = self.grain
        return Sums(n, k, y * g, yy * g * g, x * g, xx * g * g, xy * g * g)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When one looks, and how the units are split."""

    share: float
    """The treatment's share: every unit is assigned by lot."""
    ends: Ints
    """Units of both variants at every look, rising."""

    @property
    def sizes(self) -> Ints:
        """Return the units that came between the looks."""
        return np.diff(self.ends, prepend=0)


def schedule(chance: np.random.Generator, share: float, units: int, growth: float = 0.0) -> Schedule:
    """Return a look after every batch of 50 to 100 units, or of `growth` times the units so far if more."""
    ends = []
    reached = 0
    while reached < units:
        batch = int(chance.integers(BATCH[0], BATCH[1] + 1))
        reached = min(units, reached + max(batch, int(growth * reached)))
        ends.append(reached)
    return Schedule(share, np.array(ends, np.int64))


def planned(share: float, *ends: int) -> Schedule:
    """Return looks at these numbers of units."""
    return Schedule(share, np.array(ends, np.int64))


def watch_rates(
    chance: np.random.Generator, runs: int, when: Schedule, rates: tuple[float, float]
) -> Watched:
    """Return a proportion of these true rates (treatment's, control's): batches of binomials are exact."""
    sizes = when.sizes
    ones = chance.binomial(sizes, when.share, (runs, len(sizes)))
    return Watched(
        _of_counts(ones, chance.binomial(ones, rates[0])),
        _of_counts(sizes - ones, chance.binomial(sizes - ones, rates[1])),
    )


def _of_counts(units: Ints, converted: Ints) -> Tally:
    n, k = np.cumsum(units, axis=1), np.cumsum(converted, axis=1)
    none = np.zeros_like(n)
    return Tally(n, k, k, k, none, none, none)


def watch_values(
    chance: np.random.Generator, runs: int, when: Schedule, population: Population, factor: float = 1.0
) -> Watched:
    """Return a population's values; those of the treatment are multiplied by `factor`."""
    units = int(when.ends[-1])
    step = max(1, _AT_ONCE // units)
    parts = []
    for start in range(0, runs, step):
        shape = (min(step, runs - start), units)
        treated = chance.random(shape, np.float32) < when.share
        y, x = population.draw(chance, np.where(treated, factor, 1.0))
        parts.append(_tallies(treated, y, x, when))
    ones, zeros = zip(*parts, strict=True)
    return Watched(_stacked(ones), _stacked(zeros), population.grain)


def _tallies(
    treated: np.typing.NDArray[np.bool_], y: Ints, x: Ints | None, when: Schedule
) -> tuple[Tally, Tally]:
    """The treated units' sums, and the others' as the rest: whole numbers, nothing is lost."""
    starts = np.concatenate([[0], when.ends[:-1]])

    def summed(column: np.typing.NDArray[np.generic]) -> Ints:
        return np.cumsum(np.add.reduceat(column, starts, axis=1, dtype=np.int64), axis=1)

    def both(column: np.typing.NDArray[np.generic]) -> tuple[Ints, Ints]:
        ones = summed(column * treated)
        return ones, summed(column) - ones

    units = summed(treated)
    columns = [(units, when.ends - units), *(both(each) for each in (y != 0, y, y * y))]
    none = np.zeros_like(columns[0][0])
    columns += [(none, none)] * 3 if x is None else [both(each) for each in (x, x * x, x * y)]
    return Tally(*(one for one, _ in columns)), Tally(*(zero for _, zero in columns))


def _stacked(parts: tuple[Tally, ...]) -> Tally:
    return Tally(*(np.concatenate(each) for each in zip(*parts, strict=True)))


Watch = Callable[[np.random.Generator, int, Schedule, float], Watched]
"""Draws so many runs of a schedule with the treatment's factor."""


def of_rate(rate: float) -> Watch:
    """Return how to watch a proportion whose control has this rate."""

    def watch(chance: np.random.Generator, runs: int, when: Schedule, factor: float) -> Watched:
        return watch_rates(chance, runs, when, (rate * factor, rate))

    return watch


def of_values(population: Population) -> Watch:
    """Return how to watch a population."""

    def watch(chance: np.random.Generator, runs: int, when: Schedule, factor: float) -> Watched:
        return watch_values(chance, runs, when, population, factor)

    return watch


def as_floats(*columns: Ints) -> tuple[Floats, ...]:
    """Return columns in floating point, for formulas over whole arrays."""
    return tuple(each.astype(np.float64) for each in columns)
