"""The asymptotic confidence sequence: an interval that one may look at after every unit.

Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic
confidence sequences", theorem 2.2 (two-sided) and its one-sided form. With t units, an estimate whose
variance is V, and s = sqrt(t V), the two-sided radius is

    s * sqrt( 2 (t rho² + 1) / (t² rho²) * ln( sqrt(t rho² + 1) / alpha ) )

and the one-sided one has ln(1 + sqrt(t rho² + 1) / (2 alpha)) in its place. For a difference of two
variants t is the number of units in both. The guarantee is asymptotic: look only after a burn-in.

Behind it stands the normal mixture martingale, an e-value: E = exp( x² / 2 ) / sqrt(t rho² + 1) with
x² = z² t rho² / (t rho² + 1) and z = estimate / sqrt(V). The interval excludes 0 exactly when E > 1 / alpha,
so min(1, 1 / E) is a p-value that is valid at any moment. It is kept as a logarithm, where z = 50 is still
a number. As rho depends on alpha, so does p.
"""

import math
import sys
from dataclasses import dataclass
from functools import lru_cache

SMALLEST_P = sys.float_info.min
"""What a p-value is shown as when the float cannot hold it: the smallest normal float, never 0."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the sequence is tuned to. Raises ValueError for an alpha outside (0, 1) or no units."""

    alpha: float = 0.05
    tuned_units: int = 5_000
    """t*: the number of units in all at which the interval is tightest."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError("alpha: must lie between 0 and 1, both excluded")
        if self.tuned_units < 1:
            raise ValueError("tuned_units: must be at least 1")

    @property
    def rho_squared(self) -> float:
        """Return rho² of the two-sided sequence: (-2 ln alpha + ln(-2 ln alpha + 1)) / t*.

        rho only says where the interval is tightest: any value is valid. Above an alpha of 0.5, where the
        formula tends to 0, that of 0.5 is used.
        """
        return _rho_squared(self.alpha, self.tuned_units)

    @property
    def rho_squared_one_sided(self) -> float:
        """Return rho² of the one-sided sequence: that of twice the alpha."""
        return _rho_squared(2 * self.alpha, self.tuned_units)


@lru_cache(maxsize=1_024)
def _rho_squared(alpha: float, tuned_units: int) -> float:
    doubled = -2.0 * math.log(min(alpha, 0.5))
    return (doubled + math.log1p(doubled)) / tuned_units


def two_sided_radius(variance: float, units: int, tuning: Tuning) -> float:
    """Return half the width of the two-sided sequence of an estimate with this variance after `units`."""
    grown = units * tuning.rho_squared
    return _radius(variance, grown, 0.5 * math.log1p(grown) - math.log(tuning.alpha))


def one_sided_radius(variance: float, units: int, tuning: Tuning) -> float:
    """Return the distance from the estimate to the bound of the one-sided sequence, alpha in one tail."""
    grown = units * tuning.rho_squared_one_sided
    return _radius(variance, grown, math.log1p(math.sqrt(grown + 1.0) / (2.0 * tuning.alpha)))


def _radius(variance: float, grown: float, log_term: float) -> float:
    # With s² = tV, s² · 2(tρ²+1)/(t²ρ²) is V · 2(tρ²+1)/(tρ²); `grown` is tρ².
    return math.sqrt(variance * 2.0 * (grown + 1.0) / grown * log_term)


def log_p_value(estimate: float, variance: float, units: int, tuning: Tuning) -> float:
    """Return ln of the two-sided always-valid p-value: min(0, -ln E), finite. `variance` must be positive."""
    grown = units * tuning.rho_squared
    log_e = (estimate / variance * estimate) * grown / (2.0 * (grown + 1.0)) - 0.5 * math.log1p(grown)
    return -min(max(log_e, 0.0), sys.float_info.max)


def shown_p_value(log_p: float) -> float:
    """Return the p-value of a logarithm as a float in (0, 1], never 0."""
    return max(math.exp(min(log_p, 0.0)), SMALLEST_P)
