"""Do the units split as configured? A multinomial test that may be looked at after every unit.

Source: Lindon, Malek, "Anytime-valid inference for multinomial count data" (2022). Under the configured
shares theta the counts have a known likelihood; under the alternative the shares are drawn from a Dirichlet.
Their ratio is a martingale:

    ln BF = ln G(A) - ln G(A + n) + sum( ln G(a_i + n_i) - ln G(a_i) ) - sum( n_i ln theta_i )

with a_i = 1 (every split equally likely), A = sum a_i. min over time of 1 / BF is an always-valid p-value.
When weights change, a new period begins: Bayes factors of periods multiply, so their logarithms add. The
minimum over time is the caller's to keep (`running_log_p`).

For one look at the end there is Pearson's chi-square over the variants with a weight, k - 1 degrees of
freedom: variants of weight 0 have no expected units and no place in it, a unit there is a leak.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from libs.statistics.chi_square import log_chi_square_tail
from libs.statistics.differences import NotEnough

MISMATCH_P = 0.001
"""Below this p-value a mismatch is reported..."""
MISMATCH_DEVIATION = 0.005
"""...when some share is off by more than this as well: at millions of units a hair is significant."""


def expected_shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Return the share of each variant with a positive weight. Empty when none has."""
    total = math.fsum(weights.values())
    return {key: weight / total for key, weight in weights.items() if weight > 0.0} if total > 0.0 else {}


def log_bayes_factor(observed: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Return ln BF of the counts of the variants in `shares` (which sum to 1) against these shares.

    Units of variants outside `shares` are leaks, not a matter of chance: they are left out here. With fewer
    than two shares there is nothing to test and the answer is 0.
    """
    if len(shares) < 2:
        return 0.0
    counts = [observed.get(key, 0) for key in shares]
    value = math.lgamma(len(shares)) - math.lgamma(len(shares) + sum(counts))
    value += math.fsum(math.lgamma(1 + count) for count in counts)
    return value - math.fsum(
        count * math.log(share) for count, share in zip(counts, shares.values(), strict=True)
    )


def largest_deviation(observed: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Return the largest distance of an observed share from its expected one; 0 without units."""
    total = sum(observed.get(key, 0) for key in shares)
    if not total:
        return 0.0
    return max(abs(observed.get(key, 0) / total - share) for key, share in shares.items())


@dataclass(frozen=True, slots=True)
class RatioPeriod:
    """A time of constant weights, and the units that came in it."""

    weights: Mapping[str, float]
    observed: Mapping[str, int]


def log_bayes_factor_of(periods: Iterable[RatioPeriod]) -> float:
    """Return ln BF of all periods together, each against its own weights; 0 without any."""
    return math.fsum(log_bayes_factor(each.observed, expected_shares(each.weights)) for each in periods)


def running_log_p(lowest: float, log_factor: float) -> float:
    """Return ln of the always-valid p-value: `lowest` so far (0 at first), or -ln BF where that is less."""
    return min(lowest, -max(log_factor, 0.0))


LEAST_EXPECTED = 5
"""Expected units per variant from which the chi-square distribution is near enough (Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class FixedRatio:
    """Pearson's test of the split, valid for one look at a size fixed in advance."""

    chi_square: float
    freedom: int
    log_p: float


def sample_ratio_fixed(observed: Mapping[str, int], weights: Mapping[str, float]) -> FixedRatio | NotEnough:
    """Return the chi-square test of the units against the weights, or why there is none."""
    shares = expected_shares(weights)
    if len(shares) < 2:
        return NotEnough("fewer than two variants have a weight: there is no split to test")
    total = sum(observed.get(key, 0) for key in shares)
    least = total * min(shares.values())
    if least < LEAST_EXPECTED:
        return NotEnough(f"{least:.3g} units expected in a variant; the test starts at {LEAST_EXPECTED}")
    chi_square = math.fsum(
        (observed.get(key, 0) - total * share) ** 2 / (total * share) for key, share in shares.items()
    )
    freedom = len(shares) - 1
    return FixedRatio(chi_square, freedom, log_chi_square_tail(chi_square, freedom))
