"""What a variant earns, from units that a bandit gave out: by inverse propensity, not by raw means.

Where shares follow what was earned, raw means are biased (a variant stops being seen when it looks bad) and
mix periods in unequal parts. In a period of constant shares the variant's mean over *all* units of the period
is estimated by

    μ_p = m + (1 / N_p) Σ (y - m) / e_p      over the units that got the variant

with N_p units in all, the logged share e_p and m = the variant's mean before the period. It is unbiased for
any m that is settled beforehand, and the better m the less it varies (augmented inverse propensity: Robins,
Rotnitzky, Zhao 1994; Hadad, Hirshberg, Zhan, Wager, Athey 2021). The first period with units has no earlier
ones: there the shares did not yet depend on the variant and its plain mean is used. Periods are joined by
their units: the mean over everybody who came. The variance is that of the terms of the sum, from the period's
sums alone, and never below v / e_p a unit, with v the variance of one unit of the variant or of all together,
the larger: a variant that is seldom seen may not vouch for itself (see `differences`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.statistics.differences import NotEnough
from libs.statistics.sums import Sums

LEAST_PROPENSITY: Final = 1e-6
"""A variant with a smaller share was not on offer: the period says nothing of it."""


@dataclass(frozen=True, slots=True)
class Period:
    """A time of constant shares: the propensity of each variant, and the sums of the units of that time."""

    propensities: Mapping[str, float]
    sums: Mapping[str, Sums]

    @property
    def units(self) -> int:
        """Return the units of all variants."""
        return sum(each.units for each in self.sums.values())

    def offers(self, key: str) -> bool:
        """Return whether units could get the variant."""
        return LEAST_PROPENSITY <= self.propensities.get(key, 0.0) <= 1.0


@dataclass(frozen=True, slots=True)
class Weighted:
    """An estimate over all units of the periods that could tell, with its variance (positive)."""

    estimate: float
    variance: float
    units: int
    """Units of all variants in these periods: what a sequence counts as t."""


@dataclass(frozen=True, slots=True)
class _Term:
    """One variant in one period. Per unit of the period: the scatter about m and the least variance."""

    units: int
    estimate: float
    gap: float
    """Estimate less m."""
    scatter: float
    least: float


def weighted_mean(periods: Sequence[Period], key: str, *, proportion: bool) -> Weighted | NotEnough:
    """Return the mean that the variant would have had over all units, or why it cannot be known."""
    usable = _usable(periods, (key,))
    variance = _unit_variance(usable, key, proportion=proportion)
    if isinstance(variance, NotEnough):
        return variance
    terms = _terms(usable, key, variance)
    units = sum(term.units for term in terms)
    estimate = sum(term.units / units * term.estimate for term in terms)
    total = sum(term.units / units * max(term.scatter - term.gap**2, term.least) for term in terms)
    return Weighted(estimate, total / units, units)


def weighted_difference(
    periods: Sequence[Period], treatment: str, control: str, *, proportion: bool
) -> Weighted | NotEnough:
    """Return treatment minus control over all units of the periods that offered both.

    The two are not independent: a unit that got one did not get the other. The covariance of its two terms is
    -(μ1 - m1)(μ0 - m0), which makes their difference vary by the scatters less the square of the gaps'
    difference.
    """
    usable = _usable(periods, (treatment, control))
    one = _unit_variance(usable, treatment, proportion=proportion)
    if isinstance(one, NotEnough):
        return one
    two = _unit_variance(usable, control, proportion=proportion)
    if isinstance(two, NotEnough):
        return two
    pairs = list(zip(_terms(usable, treatment, one), _terms(usable, control, two), strict=True))
    units = sum(left.units for left, _ in pairs)
    estimate, variance = 0.0, 0.0
    for left, right in pairs:
        part = left.units / units
        estimate += part * (left.estimate - right.estimate)
        scatter = left.scatter + right.scatter - (left.gap - right.gap) ** 2
        variance += part * max(scatter, left.least + right.least)
    return Weighted(estimate, variance / units, units)


def _usable(periods: Sequence[Period], keys: Sequence[str]) -> list[Period]:
    """Return the periods that offered them all, from the first in which each had units."""
    offered = [each for each in periods if each.units and all(each.offers(key) for key in keys)]
    met = (
        place for place, each in enumerate(offered) if all(each.sums.get(key, Sums()).units for key in keys)
    )
    return offered[next(met, len(offered)) :]


def _unit_variance(usable: Sequence[Period], key: str, *, proportion: bool) -> float | NotEnough:
    own = sum((each.sums.get(key, Sums()) for each in usable), Sums())
    everybody = sum((sums for each in usable for sums in each.sums.values()), Sums())
    if own.units < 2:
        return NotEnough(f"{own.units} units got {key} while it was on offer with a known share")
    if proportion:
        return max(_rate_variance(own), _rate_variance(everybody))
    return max(own.variance or 0.0, everybody.variance or 0.0) or NotEnough("every unit has the same value")


def _rate_variance(sums: Sums) -> float:
    """p (1 - p) with one conversion and one miss added, as in `differences`: never 0."""
    rate = (sums.converted_units + 1) / (sums.units + 2)
    return rate * (1.0 - rate)


def _terms(usable: Sequence[Period], key: str, variance: float) -> list[_Term]:
    terms, before = [], Sums()
    for period in usable:
        own = period.sums.get(key, Sums())
        terms.append(_term(period, key, before.mean, variance))
        before = before + own
    return terms


def _term(period: Period, key: str, before: float | None, variance: float) -> _Term:
    own, units, propensity = period.sums.get(key, Sums()), period.units, period.propensities[key]
    mean = own.mean
    if before is None:
        assert mean is not None, "periods begin where the variant has units"
        alone = variance * units / own.units
        return _Term(units, mean, 0.0, alone, alone)
    if mean is None:
        return _Term(units, before, 0.0, 0.0, variance / propensity)
    away = mean - before
    gap = own.units / units / propensity * away
    squares = (own.variance or 0.0) * (own.units - 1) + own.units * away * away
    scatter = squares / units / propensity / propensity
    return _Term(units, before + gap, gap, scatter, variance / propensity)
