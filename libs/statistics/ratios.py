"""Ratio metrics: Σy / Σx over units, such as clicks per view; what is sampled is the unit, not the view.

By the delta method R = Σy / Σx behaves like a mean whose single unit has the variance

    (Var y - 2 R Cov(x, y) + R² Var x) / x̄²

(Deng, Knoblich, Lu 2018, "Applying the delta method in metric analytics"). It is therefore given out as an
`Arm`: everything that takes two arms (Welch's test, the confidence sequence with its margins, lifts) takes
two ratios, and their relative lift is that of arms. Views are not independent, units are: treating views as
units gives intervals that are too narrow by the square root of the design effect.
"""

import math

from libs.statistics.differences import Arm, Arms, NotEnough, with_floor
from libs.statistics.pairs import residual_variance, scatter_x
from libs.statistics.sums import MICRO, Sums

FEWEST_ERRORS = 3.0
"""The denominator's mean must be this many of its standard errors away from 0. Under it the ratio is nowhere
near normal, and the delta method's variance means nothing."""


def ratio_arm(sums: Sums) -> Arm | NotEnough:
    """Return Σy / Σx and the variance of a single unit, of units with x in the covariate's place."""
    if sums.units < 2:
        return NotEnough("fewer than two units in a variant")
    if sums.covariate_total == 0:
        return NotEnough("the denominators of a variant sum to 0: a ratio does not exist")
    if abs(sums.covariate_total) < FEWEST_ERRORS * _error_of_total(sums):
        return NotEnough(
            f"the mean denominator of a variant is within {FEWEST_ERRORS:g} standard errors of 0"
        )
    mean_x = sums.covariate_total / (sums.units * MICRO)
    variance = residual_variance(sums, (sums.total, sums.covariate_total)) / (mean_x * mean_x)
    return Arm(sums.units, sums.total / sums.covariate_total, variance)


def ratio_arms(treatment: Sums, control: Sums, *, floored: bool = True) -> Arms | NotEnough:
    """Return both ratios for everything that takes arms.

    For what is looked at all the time no variance is below that of both taken together, for the reason
    `differences` gives; without `floored`, for one planned look, each has its own.
    """
    one, zero = ratio_arm(treatment), ratio_arm(control)
    if isinstance(one, NotEnough):
        return one
    if isinstance(zero, NotEnough):
        return zero
    if not floored:
        return Arms(one, zero)
    pooled = ratio_arm(treatment + control)
    if isinstance(pooled, NotEnough):
        return pooled
    if not pooled.variance > 0.0:
        return NotEnough("every unit has the same ratio")
    return with_floor(one, zero, pooled.variance)


def _error_of_total(sums: Sums) -> float:
    """Standard error of Σx: sqrt(n Var x), in micro-units."""
    return math.sqrt(scatter_x(sums) / (sums.units - 1))
