"""Quantiles of a value per unit, from a sketch: estimates, intervals for one look or for any, two variants.

**At any look.** For the true p-quantile q each value lies at or below q with a chance of at least p, and
below q with one of at most p. So a rank whose number of values at or below it is too small for "chance >= p"
(exact one-sided beta mixture, `binomial_mixtures`) is below q's, and likewise above. This is the confidence
sequence for a fixed quantile of Howard and Ramdas (2022, "Sequential estimation of quantiles with
applications to A/B testing and best-arm identification"), in its beta-binomial form, with each side tested at
alpha / 2 by a mixture cut off at p. It is exact for independent units of any distribution, ties included.

**At one planned look.** Order statistics whose ranks are binomial quantiles: exact, and wider than asked for.

**The sketch's error** is inside: an interval reaches to the far ends of the bins that hold its ranks.

**Two variants**: the union of both intervals at alpha / 2 each. A p-value is the smallest level at which they
lie apart, by the same mixtures; looked for over the bins' ends, where alone it changes.

A value is per unit. Of several events of a unit take one number (its mean, its worst), or use a ratio.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction

from scipy.stats import binom

from libs.statistics.binomial_mixtures import Mixture
from libs.statistics.differences import NotEnough
from libs.statistics.quantile_sketch import Range, Ranks
from libs.statistics.sequences import Tuning
from libs.statistics.sums import MICRO
from libs.statistics.tails import check_alpha

_DENOMINATOR = 10**9
_BEYOND = "a value is too large for the sketch: more than 1e18"


class Look(Enum):
    """For which looks an interval holds; the value is its name in results."""

    ANY = "beta-mixture confidence sequence of the rank, exact at every look"
    PLANNED = "order statistics, one planned look"


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile in units of the value; its rank's value lies between `low` and `high` for certain."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class QuantileInterval:
    """A quantile, or a difference of two, and where the true one may lie: the sketch's error included."""

    estimate: float
    lower: float
    upper: float
    method: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Which quantile, and how sure. Raises ValueError by field."""

    quantile: float
    tuning: Tuning = field(default_factory=Tuning)
    """Alpha; and the units of one variant at which the sequence is tightest (`tuned_units`)."""
    look: Look = Look.ANY

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise ValueError("quantile: must lie between 0 and 1, both excluded")

    @property
    def mixture(self) -> Mixture:
        """Return the test of a rank: a "hit" is a value at or below the quantile."""
        return Mixture.tuned_to(self.quantile, self.tuning.tuned_units, self.tuning.alpha)


def quantile(sketch: Mapping[int, int], share: float) -> Quantile | NotEnough:
    """Return the smallest value that at least this share of all values does not exceed."""
    return _estimate(Ranks(sketch), Asked(share))


def quantile_interval(
    sketch: Mapping[int, int], asked: Asked, alpha: float | None = None
) -> QuantileInterval | NotEnough:
    """Return the two-sided interval of one variant's quantile, or what there is too little of.

    Another `alpha` than that of the tuning changes the level alone, not what the sequence is tuned to.
    """
    return ranked_interval(Ranks(sketch), asked, asked.tuning.alpha if alpha is None else alpha)


def ranked_interval(ranks: Ranks, asked: Asked, alpha: float) -> QuantileInterval | NotEnough:
    """Return the same of a sketch in order; each bound errs with a chance of at most alpha / 2."""
    found = _estimate(ranks, asked)
    if isinstance(found, NotEnough):
        return found
    ends = _bounds(ranks, asked, alpha / 2.0)
    if isinstance(ends, NotEnough):
        return ends
    return QuantileInterval(found.estimate, *ends, asked.look.value)


def quantile_difference(
    treatment: Mapping[int, int], control: Mapping[int, int], asked: Asked
) -> QuantileInterval | NotEnough:
    """Return treatment's minus control's quantile: the union of both intervals at alpha / 2."""
    level = asked.tuning.alpha / 2.0
    one = quantile_interval(treatment, asked, level)
    zero = quantile_interval(control, asked, level)
    if isinstance(one, NotEnough):
        return one
    if isinstance(zero, NotEnough):
        return zero
    lower, upper = one.lower - zero.upper, one.upper - zero.lower
    return QuantileInterval(one.estimate - zero.estimate, lower, upper, asked.look.value)


def _bounds(ranks: Ranks, asked: Asked, level: float) -> tuple[float, float] | NotEnough:
    check_alpha(level)
    lowest, highest = _ranks_of_bounds(ranks.total, asked, level)
    if lowest < 1 or highest > ranks.total:
        return NotEnough(
            f"{ranks.total} units are too few to bound the {asked.quantile:g} quantile on both sides"
        )
    low, high = ranks.at(lowest).low, ranks.at(highest).high
    return NotEnough(_BEYOND) if low is None or high is None else (low / MICRO, high / MICRO)


def _ranks_of_bounds(units: int, asked: Asked, level: float) -> tuple[int, int]:
    """The ranks of both bounds; one outside 1..units where there is none."""
    if asked.look is Look.PLANNED:
        # P(Bin <= low - 1) and P(Bin >= high) are at most the level: Bin counts values at or below q.
        return int(binom.ppf(level, units, asked.quantile)), int(binom.isf(level, units, asked.quantile)) + 1
    mixture = asked.mixture
    few = mixture.most_hits_that_are_too_few(units, level)
    many = mixture.fewest_hits_that_are_too_many(units, level)
    return 0 if few is None else few + 1, units + 1 if many is None else many


def _estimate(ranks: Ranks, asked: Asked) -> Quantile | NotEnough:
    if not ranks.total:
        return NotEnough("no units")
    share = Fraction(asked.quantile).limit_denominator(_DENOMINATOR)
    found: Range = ranks.at(max(1, min(ranks.total, math.ceil(share * ranks.total))))
    middle = found.middle
    if middle is None or found.low is None or found.high is None:
        return NotEnough(_BEYOND)
    return Quantile(middle, found.low / MICRO, found.high / MICRO)
