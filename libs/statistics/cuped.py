"""CUPED: take out of a metric what the unit's own past explains.

y' = y - theta (x - x̄), with x what the unit did before its first exposure. Source: Deng, Xu, Kohavi, Walker
2013. theta is the pooled within-variant slope: Sxy and Sxx are summed over all variants after each has lost
its own means, so that an effect of the treatment on y can't leak into theta (pooling without that, as some
platforms do, biases theta as soon as x̄ differs between variants by chance). theta is exact for these sums
and fixed for all variants: the difference of two adjusted means is dy - theta dx, with no x̄ in it.

x̄ is the mean over all units of all variants. It moves every adjusted mean alike, so its own error,
theta² Var(x) / n, is `Arms.shared`: nothing in a difference, a little in a relative lift far from 0.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from libs.statistics.differences import Arm, Arms, NotEnough, with_floor
from libs.statistics.pairs import residual_variance, scatter_x, scatter_xy, scatter_y
from libs.statistics.sums import MICRO, Sums


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What all variants of a metric are adjusted by. The default changes nothing."""

    theta: float = 0.0
    covariate_total: int = 0
    """Σx over all units, in micro-units..."""
    units: int = 1
    """...and how many they are: x̄ is their quotient, kept exact."""
    mean_error: float = 0.0
    """theta² Var(x) / n: the variance that the use of x̄ gives to every adjusted mean."""
    variance_reduction: float = 0.0
    """Share of the within-variant variance of y that x explains: 0.4 is worth 1 / 0.6 times the traffic."""
    reason: str = ""
    """Why nothing was adjusted; empty when something was."""


def adjustment(variants: Iterable[Sums]) -> Adjustment:
    """Return theta and x̄ over all variants of one metric, the control among them.

    Without any variance of x within the variants theta is 0, and `reason` says so. The order of the variants
    does not matter, to the last digit.
    """
    known = [each for each in variants if each.units]
    together = sum(known, Sums())
    sxx = math.fsum(scatter_x(each) / each.units for each in known)
    if sxx == 0.0:
        return Adjustment(reason="no unit differs from another in what it did before its exposure")
    sxy = math.fsum(scatter_xy(each) / each.units for each in known)
    syy = math.fsum(scatter_y(each) / each.units for each in known)
    theta = sxy / sxx
    return Adjustment(
        theta=theta,
        covariate_total=together.covariate_total,
        units=together.units,
        mean_error=theta * theta * sxx / (MICRO * MICRO) / together.units / together.units,
        variance_reduction=min(1.0, theta * (sxy / syy)) if syy else 0.0,
    )


def adjusted_arm(sums: Sums, by: Adjustment) -> Arm | NotEnough:
    """Return the mean of y' and its variance within the variant (it may be 0)."""
    if sums.units < 2:
        return NotEnough("fewer than two units in a variant")
    p, q = by.theta.as_integer_ratio()
    # ȳ - theta (x̄ of the variant - x̄ of all) over one denominator: exact up to the one division.
    moved = sums.covariate_total * by.units - by.covariate_total * sums.units
    mean = (sums.total * by.units * q - p * moved) / (sums.units * by.units * q * MICRO)
    return Arm(sums.units, mean, residual_variance(sums, (p, q)))


def adjusted_arms(
    treatment: Sums, control: Sums, by: Adjustment, *, floored: bool = True
) -> Arms | NotEnough:
    """Return both adjusted means for everything that takes arms.

    For what is looked at all the time no variance is below that of y' in both variants taken together, for
    the reason `differences` gives; without `floored`, for one planned look, each has its own.
    """
    one, zero = adjusted_arm(treatment, by), adjusted_arm(control, by)
    if isinstance(one, NotEnough):
        return one
    if isinstance(zero, NotEnough):
        return zero
    if not floored:
        return Arms(one, zero, by.mean_error)
    least = residual_variance(treatment + control, by.theta.as_integer_ratio())
    return with_floor(one, zero, least, by.mean_error)
