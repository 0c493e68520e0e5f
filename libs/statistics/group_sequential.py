"""A few planned looks: boundaries that keep the error rate, by spending it or by a classical shape.

Sources: Lan, DeMets, "Discrete sequential boundaries for clinical trials" (1983); Pocock (1977); O'Brien,
Fleming (1979); Jennison, Turnbull, "Group Sequential Methods" (2000). A look happens at an information
fraction τ: units so far over units planned. By τ the error spent in one tail of level a is

    O'Brien-Fleming type   2 (1 - Φ( z(a/2) / √τ ))
    Pocock type            a ln(1 + (e - 1) τ)

A two-sided plan of level α spends α/2 in either tail, as gsDesign, ldbounds and the published tables do (five
looks of the first type: 4.877, 3.357, 2.680, 2.290, 2.031). Spending the O'Brien-Fleming type for both tails
at once at level α is as valid and a little less strict early (first look 4.383); we do not. What holds at the
planned looks holds at no others: these intervals are not for looking at any time.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri, ndtri_exp

from libs.statistics.boundary_integration import (
    START,
    Walk,
    exit_probabilities,
    log_upper_exit,
    walk_on,
)
from libs.statistics.sequences import shown_p_value

MAX_LOOKS: Final = 100
MIN_GAP: Final = 0.001
"""Looks nearer to each other, in fractions, are one look."""
_NEGLIGIBLE: Final = math.log(1e-16)
"""ln of an error share so small that the look's own tail, which can only be larger, is taken for it."""


class Spending(StrEnum):
    """How the error rate is spent: hardly any at first, or about evenly."""

    OBRIEN_FLEMING = "obrien_fleming"
    POCOCK = "pocock"


@dataclass(frozen=True, slots=True)
class Plan:
    """When one looks, and how the error rate is spent. Raises ValueError that names the field to change.

    A bound rests on the looks before it alone: looks may come at other fractions than first thought, as long
    as that is not decided by the results. The looks so far are then plan enough.
    """

    fractions: tuple[float, ...]
    """Information fractions of the looks, rising, the last at most 1."""
    alpha: float = 0.05
    spending: Spending = Spending.OBRIEN_FLEMING
    two_sided: bool = True

    def __post_init__(self) -> None:
        _check(self.alpha, len(self.fractions))
        if not all(0.0 < each <= 1.0 for each in self.fractions):
            raise ValueError("fractions: each must lie above 0 and be at most 1")
        before = (0.0, *self.fractions[:-1])
        if any(now - then < MIN_GAP * (1 - 1e-9) for then, now in zip(before, self.fractions, strict=True)):
            raise ValueError(f"fractions: must rise by at least {MIN_GAP} from look to look")

    @property
    def tail_alpha(self) -> float:
        """Return the error rate of one tail."""
        return self.alpha / 2.0 if self.two_sided else self.alpha


def _check(alpha: float, looks: int) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError("alpha: must lie between 0 and 1, both excluded")
    if not 1 <= looks <= MAX_LOOKS:
        raise ValueError(f"looks: must be 1 to {MAX_LOOKS}, not {looks}")


def equal_looks(looks: int) -> tuple[float, ...]:
    """Return the fractions of evenly spaced looks. Raises ValueError outside 1 to `MAX_LOOKS`."""
    _check(0.5, looks)
    return tuple((look + 1) / looks for look in range(looks))


def log_spent(spending: Spending, tail_alpha: float, fraction: float) -> float:
    """Return ln of the error that a tail of level `tail_alpha` has spent by `fraction` (above 0)."""
    reached = min(fraction, 1.0)
    if spending is Spending.POCOCK:
        return math.log(tail_alpha) + math.log(math.log1p((math.e - 1.0) * reached))
    return math.log(2.0) + float(log_ndtr(float(ndtri(tail_alpha / 2.0)) / math.sqrt(reached)))


@dataclass(frozen=True, slots=True)
class _Course:
    """The upper bound of each look, and the walk that comes to it."""

    bounds: tuple[float, ...]
    walks: tuple[Walk, ...]


@lru_cache(maxsize=64)
def _course(plan: Plan) -> _Course:
    walk, bounds, walks, spent = START, [], [], -math.inf
    for look, fraction in enumerate(plan.fractions):
        now = log_spent(plan.spending, plan.tail_alpha, fraction)
        bound = _bound(walk, fraction, _log_difference(now, spent), two_sided=plan.two_sided)
        bounds.append(bound)
        walks.append(walk)
        spent = now
        if look + 1 < len(plan.fractions):
            inside = (-bound if plan.two_sided else -math.inf, bound)
            walk = walk_on(walk, fraction, inside, plan.fractions[look + 1] - fraction, 0.0)
    return _Course(tuple(bounds), tuple(walks))


def _log_difference(larger: float, smaller: float) -> float:
    return larger + math.log(-math.expm1(smaller - larger)) if smaller < larger else -math.inf


def _bound(walk: Walk, fraction: float, log_share: float, *, two_sided: bool) -> float:
    """Return the z that the walk passes at this look with probability exp(`log_share`)."""
    # The tail of Z at this look, crossed before or not, is the larger one: its quantile lies above.
    high = -float(ndtri_exp(max(log_share, -1e300)))
    if walk is START or log_share < _NEGLIGIBLE:
        return high

    def excess(z: float) -> float:
        return log_upper_exit(walk, fraction, z) - log_share

    reach = 1.0
    while excess(high - reach) < 0.0 and reach < 64.0:
        reach *= 2.0
    low = max(high - reach, 0.0) if two_sided else high - reach
    if excess(low) <= 0.0:
        return low
    return float(brentq(excess, low, high + 1e-6, xtol=1e-10))


def boundaries(plan: Plan) -> tuple[float, ...]:
    """Return the z at or above which each look stops; of a two-sided plan the lower ones mirror them."""
    return _course(plan).bounds


class Classic(StrEnum):
    """Boundaries of one constant c for evenly spaced looks: c at each, or c √(K / k) at look k of K."""

    POCOCK = "pocock"
    OBRIEN_FLEMING = "obrien_fleming"


@lru_cache(maxsize=256)
def classical_boundaries(shape: Classic, looks: int, alpha: float = 0.05) -> tuple[float, ...]:
    """Return the two-sided bounds of a classical design; the last one is its published constant.

    Raises ValueError for an alpha outside (0, 1) or looks outside 1 to `MAX_LOOKS`.
    """
    _check(alpha, looks)
    fractions = equal_looks(looks)
    power = 0.0 if shape is Classic.POCOCK else -0.5

    def scaled(constant: float) -> tuple[float, ...]:
        return tuple(constant * fraction**power for fraction in fractions)

    def log_excess(constant: float) -> float:
        crossed = exit_probabilities(fractions, [(-each, each) for each in scaled(constant)]).total
        return math.log(crossed / alpha)

    # One look alone is too lenient; alpha / K for each (Bonferroni) is too strict.
    low = -float(ndtri(alpha / 2.0))
    high = -float(ndtri(alpha / (2.0 * looks)))
    return scaled(low if looks == 1 else float(brentq(log_excess, low, high, xtol=1e-7)))


@dataclass(frozen=True, slots=True)
class Look:
    """What one planned look says."""

    bound: float
    crossed: bool
    """At or beyond the bound: one may stop and keep the error rate."""
    log_p: float
    """ln of the stagewise p-value: at most the error spent so far exactly when the bound is crossed."""

    @property
    def p_value(self) -> float:
        """Return the p-value as a float in (0, 1], never 0."""
        return shown_p_value(self.log_p)


def look_at(plan: Plan, look: int, z: float) -> Look:
    """Return what the `look`-th look (from 1) says of z = estimate / standard error.

    The p-value orders outcomes by the look they stopped at, then by z (Fairbanks, Madsen 1982; Tsiatis,
    Rosner, Mehta 1984): P(crossed before) + P(came here, and as far out as this). Raises ValueError for a
    look that is not planned or a z that is no number.
    """
    if not 1 <= look <= len(plan.fractions):
        raise ValueError(f"look: must be 1 to {len(plan.fractions)}, not {look}")
    if math.isnan(z):
        raise ValueError("z: must be a number")
    course, fraction = _course(plan), plan.fractions[look - 1]
    bound = course.bounds[look - 1]
    outward = min(abs(z) if plan.two_sided else z, 1e150)
    log_p = float(log_ndtr(-outward))
    if log_p >= _NEGLIGIBLE:
        log_p = min(log_p, log_upper_exit(course.walks[look - 1], fraction, outward))
    if look > 1:
        before = log_spent(plan.spending, plan.tail_alpha, plan.fractions[look - 2])
        largest = max(before, log_p)
        log_p = largest + math.log(math.exp(before - largest) + math.exp(log_p - largest))
    tails = math.log(2.0) if plan.two_sided else 0.0
    return Look(bound, outward >= bound, min(0.0, log_p + tails))


def repeated_interval(estimate: float, variance: float, bound: float) -> tuple[float, float]:
    """Return estimate ± bound · standard error: with the bound of its look it covers at all planned looks.

    Jennison, Turnbull (1989). Of a one-sided plan only the bound on its own side holds.
    """
    radius = bound * math.sqrt(variance)
    return estimate - radius, estimate + radius
