"""Two means as believed: how likely one beats the other, and by how much. The difference is normal, and
everything has a closed form. Two rates are in `rate_pairs`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from scipy.special import erfcx, ndtr, ndtri

from libs.statistics.posteriors import MeanPosterior

CONTROL_ERRORS: Final = 5.0
"""Standard errors that a control's mean must lie away from 0 for a relative lift to have a meaning."""


class Pair(Protocol):
    """Two distributions, and what follows for their difference and their ratio."""

    def chance_above(self) -> float:
        """Return P(treatment > control)."""

    def shortfall(self) -> float:
        """Return E max(control - treatment, 0)."""

    def excess(self) -> float:
        """Return E max(treatment - control, 0)."""

    def estimate(self) -> float:
        """Return the mean of the difference, treatment minus control."""

    def quantiles(
        self, differences: Sequence[float], lifts: Sequence[float]
    ) -> tuple[list[float], list[float] | None]:
        """Return these quantiles of the difference, and of (treatment - control) / |control|: None where
        control may be 0."""


@dataclass(frozen=True, slots=True)
class MeanPair:
    """Two means, independent and normal."""

    treatment: MeanPosterior
    control: MeanPosterior

    @property
    def _spread(self) -> float:
        return math.hypot(self.treatment.spread, self.control.spread)

    def chance_above(self) -> float:
        """Return Φ(difference / its standard deviation)."""
        return float(ndtr(self.estimate() / self._spread))

    def shortfall(self) -> float:
        """Return E max(control - treatment, 0)."""
        return self._spread * _unit_loss(self.estimate() / self._spread)

    def excess(self) -> float:
        """Return E max(treatment - control, 0)."""
        return self._spread * _unit_loss(-self.estimate() / self._spread)

    def estimate(self) -> float:
        """Return the difference of the means."""
        return self.treatment.mean - self.control.mean

    def quantiles(
        self, differences: Sequence[float], lifts: Sequence[float]
    ) -> tuple[list[float], list[float] | None]:
        """Return quantiles of the normal difference, and of the ratio of two normals less 1 where the
        control's mean is clearly not 0."""
        found = [self.estimate() + float(ndtri(each)) * self._spread for each in differences]
        if abs(self.control.mean) < CONTROL_ERRORS * self.control.spread:
            return found, None
        return found, [self._lift(each) for each in lifts]

    def _lift(self, probability: float) -> float:
        """Return r that solves P(treatment - (1 + r) control ≤ 0) = probability: Fieller's quadratic."""
        m0, s0 = abs(self.control.mean), self.control.spread
        above_zero = self.control.mean > 0.0
        m1, s1 = self.treatment.mean if above_zero else -self.treatment.mean, self.treatment.spread
        z = float(ndtri(probability if above_zero else 1.0 - probability))
        # In shares of the control's mean nothing overflows.
        ratio, noise0, noise1 = m1 / m0, z * s0 / m0, z * s1 / m0
        rest = 1.0 - noise0 * noise0
        root = math.sqrt(max(0.0, ratio * ratio * noise0 * noise0 + noise1 * noise1 * rest))
        quotient = (ratio + math.copysign(root, z)) / rest
        return quotient - 1.0 if above_zero else 1.0 - quotient


def _unit_loss(z: float) -> float:
    """Return E max(-X, 0) of X normal around z with standard deviation 1: φ(z) - z Φ(-z)."""
    if z <= 0.0:
        return -z + _unit_loss(-z) if z < 0.0 else 1.0 / math.sqrt(2.0 * math.pi)
    if z > 40.0:
        return 0.0
    tail = 1.0 - z * math.sqrt(math.pi / 2.0) * float(erfcx(z / math.sqrt(2.0)))
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) * max(tail, 0.0)
