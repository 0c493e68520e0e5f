"""Factorial experiments: the main effect of every factor's levels and how factors act together.

Effect coding on cell means (Montgomery, "Design and Analysis of Experiments", chapter 5): with m(l) the mean
over the cells that have level l and m the mean over all cells, every cell counting the same,

    main effect of l            m(l) - m
    interaction of l and k      m(l, k) - m(l) - m(k) + m

Levels of a factor sum to 0, so do interactions over either of their factors. Each is a contrast Σ c μ of cell
means, hence has the variance Σ c² v / n of the cells' own variances v: what least squares with effect coding
gives for the full model, with errors that may differ from cell to cell (HC2).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import log_ndtr

from libs.statistics.differences import NotEnough
from libs.statistics.sums import Sums

Levels = tuple[str, ...]
"""One level of every factor, in the factors' order."""
MOST_CELLS: Final = 1_024


@dataclass(frozen=True, slots=True)
class FactorialEffect:
    """A main effect (one factor) or a two-way interaction (two)."""

    factors: tuple[str, ...]
    levels: Levels
    estimate: float
    variance: float
    log_p: float
    """ln of the two-sided normal p-value of "no effect", for one look at the end."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a full factorial: factor names, and for every combination of levels its sums.

    Raises ValueError that names what is wrong: no factors, a name twice, combinations of another length, a
    factor with one level, too many cells.
    """

    factors: tuple[str, ...]
    sums: Mapping[Levels, Sums]
    proportion: bool

    def __post_init__(self) -> None:
        if not self.factors or len(set(self.factors)) != len(self.factors):
            raise ValueError("factors: name at least one, none of them twice")
        if any(len(cell) != len(self.factors) for cell in self.sums):
            raise ValueError("sums: every cell needs one level of each factor")
        for place, factor in enumerate(self.factors):
            if len(self.levels(place)) < 2:
                raise ValueError(f"sums: {factor} needs at least two levels")
        if math.prod(len(self.levels(place)) for place in range(len(self.factors))) > MOST_CELLS:
            raise ValueError(f"sums: more than {MOST_CELLS} combinations of levels")

    def levels(self, place: int) -> list[str]:
        """Return the levels of the factor at `place`, sorted."""
        return sorted({cell[place] for cell in self.sums})


def factorial_effects(cells: Cells) -> list[FactorialEffect] | NotEnough:
    """Return all main effects, then all two-way interactions; or which cell is missing or too small."""
    means = _cell_means(cells)
    if isinstance(means, NotEnough):
        return means
    places = range(len(cells.factors))
    single = [(place,) for place in places]
    return [
        _effect(cells, means, chosen, levels)
        for chosen in [*single, *itertools.combinations(places, 2)]
        for levels in itertools.product(*(cells.levels(place) for place in chosen))
    ]


def level_difference(cells: Cells, factor: str, levels: tuple[str, str]) -> tuple[float, float] | NotEnough:
    """Return m(first) - m(second) of a factor's levels, averaged over all the others, and its variance.

    Raises ValueError for an unknown factor or level.
    """
    if factor not in cells.factors:
        raise ValueError(f"factor: {factor} is none of {', '.join(cells.factors)}")
    place = cells.factors.index(factor)
    for level in levels:
        if level not in cells.levels(place):
            raise ValueError(f"levels: {level} is no level of {factor}")
    means = _cell_means(cells)
    if isinstance(means, NotEnough):
        return means
    each = len(cells.levels(place)) / len(means)
    return _contrast(
        means, {cell: each * ((cell[place] == levels[0]) - (cell[place] == levels[1])) for cell in means}
    )


_Means = dict[Levels, tuple[float, float]]
"""Mean of each cell and the variance of that mean."""


def _cell_means(cells: Cells) -> _Means | NotEnough:
    expected = list(itertools.product(*(cells.levels(place) for place in range(len(cells.factors)))))
    pooled = sum(cells.sums.values(), Sums()).variance
    means: _Means = {}
    for cell in expected:
        sums = cells.sums.get(cell, Sums())
        mean, variance = sums.mean, sums.variance
        if mean is None or variance is None:
            return NotEnough(f"the cell {', '.join(cell)} has {sums.units} units; every one needs two")
        if cells.proportion:
            # One conversion and one miss added, as in `differences`: never 0.
            rate = (sums.converted_units + 1) / (sums.units + 2)
            mean, variance = sums.converted_units / sums.units, rate * (1.0 - rate)
        elif variance == 0.0:
            if not pooled:
                return NotEnough("every unit has the same value")
            variance = pooled
        means[cell] = (mean, variance / sums.units)
    return means


def _effect(cells: Cells, means: _Means, places: Sequence[int], levels: Levels) -> FactorialEffect:
    # Effect coding: (L · [cell has the level] - 1) for each factor of the effect, over the number of cells.
    counts = [len(cells.levels(place)) for place in places]
    weights = {
        cell: math.prod(
            count * (cell[place] == level) - 1
            for place, level, count in zip(places, levels, counts, strict=True)
        )
        / len(means)
        for cell in means
    }
    estimate, variance = _contrast(means, weights)
    z = min(abs(estimate) / math.sqrt(variance), 1e150)
    log_p = min(0.0, math.log(2.0) + float(log_ndtr(-z)))
    return FactorialEffect(tuple(cells.factors[p] for p in places), levels, estimate, variance, log_p)


def _contrast(means: _Means, weights: Mapping[Levels, float]) -> tuple[float, float]:
    estimate = math.fsum(weights[cell] * mean for cell, (mean, _) in means.items())
    return estimate, math.fsum(weights[cell] ** 2 * variance for cell, (_, variance) in means.items())
