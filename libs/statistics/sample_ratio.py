"""Do the units split as configured? A multinomial test that may be looked at after every unit.

Source: Lindon, Malek, "Anytime-valid inference for multinomial count data" (2022). Under the configured
shares theta the counts have a known likelihood; under the alternative the shares are drawn from a Dirichlet.
Their ratio is a martingale:

    ln BF = ln G(A) - ln G(A + n) + sum( ln G(a_i + n_i) - ln G(a_i) ) - sum( n_i ln theta_i )

with a_i = 1 (every split equally likely), A = sum a_i. min over time of 1 / BF is an always-valid p-value.
When weights change, a new period begins: Bayes factors of periods multiply, so their logarithms add.
"""

import math
from collections.abc import Mapping

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

    Variants outside `shares` are leaks, not a matter of chance: they are left out here. With fewer than two
    shares there is nothing to test and the answer is 0.
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
