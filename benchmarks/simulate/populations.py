"""What units do: kinds of populations, each a number or a pair of numbers per unit, in whole grains.

A `factor` per unit (1 for control) is the true effect: it multiplies the unit's value, so that the true
relative lift is `factor` - 1 wherever the rounding to grains is fine enough.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.statistics.sums import MICRO

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Drawn = tuple[Ints, Ints | None]
"""y of every unit and, where the kind has one, x."""
CENT = MICRO // 100


@dataclass(frozen=True, slots=True)
class Population:
    """A kind of units."""

    name: str
    draw: Callable[[np.random.Generator, Floats], Drawn]
    """Returns grains for units with these factors."""
    grain: int = CENT
    """Micro-units in a grain."""


def _grains(values: Floats) -> Ints:
    return np.rint(100.0 * values).astype(np.int64)


def _normal(chance: np.random.Generator, factor: Floats) -> Drawn:
    return _grains((10.0 + 5.0 * chance.standard_normal(factor.shape)) * factor), None


def _lognormal(chance: np.random.Generator, factor: Floats) -> Drawn:
    return _grains(np.exp(3.0 + chance.standard_normal(factor.shape)) * factor), None


def _buyers(share: float) -> Callable[[np.random.Generator, Floats], Drawn]:
    def draw(chance: np.random.Generator, factor: Floats) -> Drawn:
        buys = chance.random(factor.shape) < share
        found = np.zeros(factor.shape, np.int64)
        found[buys] = _grains(np.exp(3.0 + chance.standard_normal(int(buys.sum()))) * factor[buys])
        return found, None

    return draw


def _clicks(chance: np.random.Generator, factor: Floats) -> Drawn:
    """Of rates that differ between units: one in seven clicks on a fifth of the views, others on 2.5 %."""
    views = 1 + chance.poisson(2.0, factor.shape)
    rates = np.where(chance.random(factor.shape) < 1.0 / 7.0, 0.2, 0.025) * factor
    return chance.binomial(views, rates), views


def _spending(chance: np.random.Generator, factor: Floats) -> Drawn:
    """A skewed amount that one in ten units spends, and the past that explains a part of it."""
    past = np.zeros(factor.shape)
    known = chance.random(factor.shape) < 0.3
    past[known] = np.exp(3.0 + chance.standard_normal(int(known.sum())))
    buys = chance.random(factor.shape) < np.where(known, 0.25, 0.04)
    value = np.zeros(factor.shape)
    value[buys] = 20.0 + 0.7 * past[buys] + np.exp(3.0 + chance.standard_normal(int(buys.sum())))
    return _grains(value * factor), _grains(past)


def _steady(chance: np.random.Generator, factor: Floats) -> Drawn:
    """A normal value of which the past explains half."""
    past = chance.standard_normal(factor.shape)
    value = 10.0 + 5.0 * np.sqrt(0.5) * (past + chance.standard_normal(factor.shape))
    return _grains(value * factor), _grains(10.0 + past)


NORMAL = Population("normal, mean 10, sd 5", _normal)
LOGNORMAL = Population("lognormal(3, 1), skewness 6.2", _lognormal)
BUYERS_5 = Population("5 % buy, lognormal(3, 1)", _buyers(0.05))
BUYERS_1 = Population("1 % buy, lognormal(3, 1)", _buyers(0.01))
CLICKS = Population("clicks per view, about 5 %, clustered by unit", _clicks, MICRO)
SPENDING = Population("10 % buy, skewed, past explains a part", _spending)
STEADY = Population("normal, past explains half", _steady)
