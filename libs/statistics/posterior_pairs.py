"""Treatment and control as believed: how likely one beats the other, and by how much.

For two rates every integral runs over the narrower distribution, whose nodes see the wider one as a smooth
curve: quantiles are correct to 1e-6 of their spread, and to a hundredth where an arm has not converted at all
(a kink at 0). For two means the difference is normal and everything has a closed form.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import erfcx, ndtr, ndtri

from libs.statistics.posteriors import MeanPosterior, RatePosterior, nodes

Floats = NDArray[np.float64]

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

    def difference(self, probability: float) -> float:
        """Return a quantile of the difference."""

    def lift(self, probability: float) -> float | None:
        """Return a quantile of (treatment - control) / |control|, None where control may be 0."""


@dataclass(frozen=True)
class RatePair:
    """Two rates."""

    treatment: RatePosterior
    control: RatePosterior

    @cached_property
    def _treatment_narrower(self) -> bool:
        return self.treatment.spread < self.control.spread

    @cached_property
    def _treatment_relatively_narrower(self) -> bool:
        return self.treatment.spread / self.treatment.mean < self.control.spread / self.control.mean

    @cached_property
    def _treatments(self) -> tuple[Floats, Floats]:
        return _weighted(self.treatment)

    @cached_property
    def _controls(self) -> tuple[Floats, Floats]:
        return _weighted(self.control)

    def chance_above(self) -> float:
        """Return P(treatment > control)."""
        if self._treatment_narrower:
            values, masses = self._treatments
            return min(1.0, float(masses @ self.control.below(values)))
        values, masses = self._controls
        return min(1.0, float(masses @ self.treatment.above(values)))

    def _at_most(self, difference: float) -> float:
        if self._treatment_narrower:
            values, masses = self._treatments
            return float(masses @ self.control.above(values - difference))
        values, masses = self._controls
        return float(masses @ self.treatment.below(values + difference))

    def _ratio_at_most(self, ratio: float) -> float:
        if self._treatment_relatively_narrower:
            values, masses = self._treatments
            return float(masses @ self.control.above(values / ratio))
        values, masses = self._controls
        return float(masses @ self.treatment.below(values * ratio))

    def shortfall(self) -> float:
        """Return E max(control - treatment, 0) = ∫ P(treatment ≤ t < control) dt: nothing cancels."""
        return _between(self.treatment, self.control)

    def excess(self) -> float:
        """Return E max(treatment - control, 0)."""
        return _between(self.control, self.treatment)

    def estimate(self) -> float:
        """Return the mean of the difference."""
        return self.treatment.mean - self.control.mean

    def difference(self, probability: float) -> float:
        """Return a quantile of the difference of the rates."""
        (low, high), (control_low, control_high) = self._reach(probability)
        spread = math.hypot(self.treatment.spread, self.control.spread)
        near = self.estimate() + float(ndtri(probability)) * spread
        bracket = _Bracket(low - control_high, high - control_low, near, spread)
        return _root(lambda d: self._at_most(d) - probability, bracket)

    def lift(self, probability: float) -> float | None:
        """Return a quantile of treatment / control - 1."""
        (low, high), (control_low, control_high) = self._reach(probability)
        arms = (self.treatment, self.control)
        spread = math.hypot(*(each.spread / each.mean for each in arms))
        near = math.log(self.treatment.mean / self.control.mean) + float(ndtri(probability)) * spread
        bracket = _Bracket(math.log(low / control_high), math.log(high / control_low), near, spread)
        return math.expm1(_root(lambda r: self._ratio_at_most(math.exp(r)) - probability, bracket))

    def _reach(self, probability: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return quantiles of both so far out that, by the union bound, they bracket that of any contrast."""
        low, high = probability / 2.0, (1.0 - probability) / 2.0
        treatment = self.treatment.quantile(low), self.treatment.quantile(1.0 - high)
        return treatment, (self.control.quantile(high), self.control.quantile(1.0 - low))


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

    def difference(self, probability: float) -> float:
        """Return a quantile of the normal difference."""
        return self.estimate() + float(ndtri(probability)) * self._spread

    def lift(self, probability: float) -> float | None:
        """Return a quantile of the ratio of two normals less 1, where the control's mean is clearly not 0.

        The quantile r solves P(treatment - (1 + r) control ≤ 0) = probability: Fieller's quadratic.
        """
        m0, s0 = abs(self.control.mean), self.control.spread
        if m0 < CONTROL_ERRORS * s0:
            return None
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


def _weighted(posterior: RatePosterior) -> tuple[Floats, Floats]:
    """Return rates and the probability that each stands for."""
    coordinates, weights = nodes([posterior])
    masses = posterior.density(coordinates) * weights
    return posterior.value(coordinates), masses / masses.sum()


@dataclass(frozen=True, slots=True)
class _Bracket:
    """Where a root lies for certain, and about where."""

    low: float
    high: float
    near: float
    spread: float


def _root(excess: Callable[[float], float], bracket: _Bracket) -> float:
    """Return where a rising function is 0; an end where rounding hides the change of sign."""
    low = max(bracket.low, bracket.near - 0.2 * bracket.spread)
    high = min(bracket.high, bracket.near + 0.2 * bracket.spread)
    if low >= high or excess(low) >= 0.0 or excess(high) <= 0.0:
        low, high = bracket.low, bracket.high
        if excess(low) >= 0.0:
            return low
        if excess(high) <= 0.0:
            return high
    return float(brentq(excess, low, high, xtol=1e-7 * bracket.spread))


def _between(lower: RatePosterior, upper: RatePosterior) -> float:
    coordinates, weights = nodes([lower, upper])
    values = lower.value(coordinates)
    # d value = value (1 - value) d log-odds
    inner = lower.below(values) * upper.above(values) * values * lower.value(-coordinates)
    return float(inner @ weights)
