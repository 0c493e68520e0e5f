"""The product's formulas over whole arrays of runs and looks, so that a thousand runs cost what ten would.

They decide nothing by themselves: `watching` asks the product's own functions at every alarm, at every near
miss and at looks picked by lot, and stops at the first difference.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulate.populations import Floats
from benchmarks.simulate.streams import Tally, Watched, as_floats
from libs.statistics.cuped import adjusted_arms, adjustment
from libs.statistics.differences import Arms, NotEnough, arms
from libs.statistics.ratios import FEWEST_ERRORS, ratio_arms
from libs.statistics.sequences import Tuning
from libs.statistics.sums import MICRO, Sums

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pairs:
    """`differences.Arms` over arrays: means, variances of the means (floored), units; where they exist."""

    m1: Floats
    v1: Floats
    n1: Floats
    m0: Floats
    v0: Floats
    n0: Floats
    there: Mask
    shared: Floats | float = 0.0

    def contrast(self, factor: Floats | float) -> tuple[Floats, Floats]:
        """Return treatment mean minus `factor` times control mean, and its variance."""
        variance = self.v1 + factor * factor * self.v0 + (1.0 - factor) ** 2 * self.shared
        return self.m1 - factor * self.m0, variance


@dataclass(frozen=True, slots=True)
class Method:
    """How sums become arms: over arrays, and by the product."""

    name: str
    pairs: Callable[[Watched], Pairs]
    arms: Callable[[Sums, Sums], Arms | NotEnough]


def _both(watched: Watched) -> Tally:
    return Tally(*(one + zero for one, zero in zip(watched.treatment, watched.control, strict=True)))


def _scatters(tally: Tally) -> tuple[Floats, Floats, Floats]:
    """Within sums of squares and products: of y, of x, of both."""
    n, _, y, yy, x, xx, xy = as_floats(*tally)
    return yy - y * y / n, xx - x * x / n, xy - x * y / n


def _residual(tally: Tally, slope: Floats) -> Floats:
    """Variance of y - slope x."""
    syy, sxx, sxy = _scatters(tally)
    rest: Floats = np.maximum(syy - 2.0 * slope * sxy + slope * slope * sxx, 0.0) / (tally.units - 1.0)
    return rest


@dataclass(frozen=True, slots=True)
class _Moments:
    """What a method makes of the sums before the floor: means, variances of a unit, the least of these."""

    means: tuple[Floats, Floats]
    variances: tuple[Floats, Floats]
    least: Floats
    there: Mask | bool = True
    shared: Floats | float = 0.0


def _pairs(watched: Watched, found: _Moments, grain: float) -> Pairs:
    n1, n0 = as_floats(watched.treatment.units, watched.control.units)
    one, zero = (np.maximum(each, found.least) * grain * grain for each in found.variances)
    m1, m0 = (each * grain for each in found.means)
    shared = found.shared * grain * grain
    there = (found.least > 0.0) & (n1 >= 2) & (n0 >= 2) & found.there
    return Pairs(m1, one / n1, n1, m0, zero / n0, n0, there, shared)


def _means(watched: Watched) -> Pairs:
    both, parts = _both(watched), (watched.treatment, watched.control)
    none = np.zeros(both.units.shape)
    one, zero = (each.total / each.units for each in parts)
    v1, v0 = (_residual(each, none) for each in parts)
    return _pairs(watched, _Moments((one, zero), (v1, v0), _residual(both, none)), watched.grain / MICRO)


def _rates(watched: Watched) -> Pairs:
    def variance(tally: Tally) -> Floats:
        smoothed = (tally.converted + 1.0) / (tally.units + 2.0)
        return smoothed * (1.0 - smoothed)

    parts = (watched.treatment, watched.control)
    one, zero = (each.converted / each.units for each in parts)
    v1, v0 = (variance(each) for each in parts)
    return _pairs(watched, _Moments((one, zero), (v1, v0), variance(_both(watched))), 1.0)


def _ratios(watched: Watched) -> Pairs:
    def one_of(tally: Tally) -> tuple[Floats, Floats]:
        ratio = tally.total / tally.x
        return ratio, _residual(tally, ratio) * (tally.units / tally.x) ** 2

    def known(tally: Tally) -> Mask:
        error = np.sqrt(tally.units * _scatters(tally)[1] / (tally.units - 1.0))
        return np.asarray(np.abs(tally.x) >= FEWEST_ERRORS * error)

    both, parts = _both(watched), (watched.treatment, watched.control)
    (one, v1), (zero, v0) = (one_of(each) for each in parts)
    there = known(both) & known(parts[0]) & known(parts[1])
    return _pairs(watched, _Moments((one, zero), (v1, v0), one_of(both)[1], there), 1.0)


def _adjusted(watched: Watched) -> Pairs:
    both, parts = _both(watched), (watched.treatment, watched.control)
    (_, xx1, xy1), (_, xx0, xy0) = (_scatters(each) for each in parts)
    within = xx1 + xx0
    theta = np.where(within > 0.0, (xy1 + xy0) / np.where(within > 0.0, within, 1.0), 0.0)
    middle = both.x / both.units
    one, zero = (each.total / each.units - theta * (each.x / each.units - middle) for each in parts)
    v1, v0 = (_residual(each, theta) for each in parts)
    shared = theta * theta * within / both.units.astype(np.float64) ** 2
    found = _Moments((one, zero), (v1, v0), _residual(both, theta), shared=shared)
    return _pairs(watched, found, watched.grain / MICRO)


def _mean_arms(treatment: Sums, control: Sums) -> Arms | NotEnough:
    return arms(treatment, control, proportion=False)


def _rate_arms(treatment: Sums, control: Sums) -> Arms | NotEnough:
    return arms(treatment, control, proportion=True)


def _cuped_arms(treatment: Sums, control: Sums) -> Arms | NotEnough:
    return adjusted_arms(treatment, control, adjustment([treatment, control]))


MEANS = Method("mean", _means, _mean_arms)
RATES = Method("proportion", _rates, _rate_arms)
RATIOS = Method("ratio", _ratios, ratio_arms)
ADJUSTED = Method("CUPED", _adjusted, _cuped_arms)


def two_sided(units: Floats, tuning: Tuning) -> Floats:
    """Return `sequences.two_sided_radius` of an estimate of variance 1."""
    grown = units * tuning.rho_squared
    squared = 2.0 * (grown + 1.0) / grown * (0.5 * np.log1p(grown) - np.log(tuning.alpha))
    return np.asarray(np.sqrt(squared))


def one_sided(units: Floats, tuning: Tuning) -> Floats:
    """Return `sequences.one_sided_radius` of an estimate of variance 1."""
    grown = units * tuning.rho_squared_one_sided
    squared = 2.0 * (grown + 1.0) / grown * np.log1p(np.sqrt(grown + 1.0) / (2.0 * tuning.alpha))
    return np.asarray(np.sqrt(squared))
