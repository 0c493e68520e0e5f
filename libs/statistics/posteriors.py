"""What is believed of one arm after its data: Beta(1, 1) updated for a rate, normal for a mean.

Integrals are sums over Gauss-Legendre nodes. A rate is integrated on its log-odds, where its density
is smooth and falls off evenly on both sides however near to 0 or 1 it lies. Nothing is drawn at random.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, betaln, expit, log_expit, ndtr

from libs.statistics.sums import Sums

Floats = NDArray[np.float64]

_OUTSIDE: Final = 1e-14
"""Probability left out at either end of an integral."""
_NORMAL_REACH: Final = 7.7
"""Standard deviations that leave so much out."""
_PANELS: Final = 24
_FEW: Final = 10
"""Panels enough for a shape that is nearly normal."""
_EVEN: Final = 10
"""Conversions and misses from which a rate's log-odds have such a shape."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


class Posterior(Protocol):
    """A continuous distribution of an arm's mean, on a coordinate of its own that suits integration."""

    @property
    def even(self) -> bool:
        """Return whether the density over the coordinate is nearly normal in shape."""

    def window(self) -> tuple[float, float]:
        """Return the coordinates that hold all but a negligible part."""

    def value(self, coordinate: Floats) -> Floats:
        """Return the means at these coordinates."""

    def density(self, coordinate: Floats) -> Floats:
        """Return the density per unit of the coordinate."""

    def below(self, value: Floats) -> Floats:
        """Return the probability that the mean is at most `value`."""

    def above(self, value: Floats) -> Floats:
        """Return the probability that the mean is larger than `value`."""


@dataclass(frozen=True, slots=True)
class RatePosterior:
    """Beta(converted + 1, missed + 1): a rate, every one equally likely before the data."""

    converted: int
    missed: int

    @property
    def mean(self) -> float:
        """Return (converted + 1) / (units + 2)."""
        return (self.converted + 1) / (self.converted + self.missed + 2)

    @property
    def spread(self) -> float:
        """Return the standard deviation."""
        return math.sqrt(self.mean * (1.0 - self.mean) / (self.converted + self.missed + 3))

    def quantile(self, probability: float) -> float:
        """Return the rate that is not exceeded with this probability."""
        return float(betaincinv(self.converted + 1.0, self.missed + 1.0, probability))

    @property
    def even(self) -> bool:
        """Return whether there are ten conversions and ten misses."""
        return min(self.converted, self.missed) >= _EVEN

    def window(self) -> tuple[float, float]:
        """Return the log-odds of two far quantiles, the upper one from the mirror image: exact near 1."""
        low = self.quantile(_OUTSIDE)
        high = float(betaincinv(self.missed + 1.0, self.converted + 1.0, _OUTSIDE))
        return math.log(low) - math.log1p(-low), math.log1p(-high) - math.log(high)

    def value(self, coordinate: Floats) -> Floats:
        """Return the rates of log-odds."""
        return np.asarray(expit(coordinate))

    def density(self, coordinate: Floats) -> Floats:
        """Return the density per unit of log-odds."""
        a, b = self.converted + 1.0, self.missed + 1.0
        return np.asarray(np.exp(a * log_expit(coordinate) + b * log_expit(-coordinate) - betaln(a, b)))

    def below(self, value: Floats) -> Floats:
        """Return the probability that the rate is at most `value`, which may lie outside 0..1."""
        return np.asarray(betainc(self.converted + 1.0, self.missed + 1.0, _within(value)))

    def above(self, value: Floats) -> Floats:
        """Return the probability that the rate is larger than `value`, which may lie outside 0..1."""
        # The mirror image: scipy's complement, betaincc, takes five times as long.
        return np.asarray(betainc(self.missed + 1.0, self.converted + 1.0, _within(1.0 - value)))


@dataclass(frozen=True, slots=True)
class MeanPosterior:
    """Normal around the observed mean: the flat-prior limit, with the variance taken as known."""

    mean: float
    spread: float
    """Standard deviation of the mean, positive."""

    @property
    def even(self) -> bool:
        """Return that it is."""
        return True

    def window(self) -> tuple[float, float]:
        """Return the mean ± 7.7 standard deviations."""
        reach = _NORMAL_REACH * self.spread
        return self.mean - reach, self.mean + reach

    def value(self, coordinate: Floats) -> Floats:
        """Return the coordinate: it is the mean itself."""
        return coordinate

    def density(self, coordinate: Floats) -> Floats:
        """Return the normal density."""
        away = (coordinate - self.mean) / self.spread
        return np.asarray(np.exp(-0.5 * away * away) / (math.sqrt(2.0 * math.pi) * self.spread))

    def below(self, value: Floats) -> Floats:
        """Return the normal distribution function."""
        return np.asarray(ndtr((value - self.mean) / self.spread))

    def above(self, value: Floats) -> Floats:
        """Return the normal survival function."""
        return np.asarray(ndtr((self.mean - value) / self.spread))


def _within(value: Floats) -> Floats:
    """Return what `np.clip` to 0..1 does, in a quarter of its time for the few nodes here."""
    return np.minimum(np.maximum(value, 0.0), 1.0)


def rate_posterior(sums: Sums) -> RatePosterior:
    """Return what is believed of a proportion; without units every rate is equally likely."""
    return RatePosterior(sums.converted_units, sums.units - sums.converted_units)


def nodes(posteriors: Sequence[Posterior]) -> tuple[Floats, Floats]:
    """Return coordinates and weights that integrate functions of all these distributions.

    They share a kind, hence a coordinate. Panels follow every distribution's own window, so that a narrow one
    beside a wide one is not stepped over.
    """
    # Many distributions share their panels: then fewer each will do.
    uneven, even = (_PANELS, _FEW) if len(posteriors) <= 8 else (_PANELS // 2, _FEW // 2 + 1)
    panels = [(each.window(), even if each.even else uneven) for each in posteriors]
    edges = np.unique(np.concatenate([np.linspace(*window, count + 1) for window, count in panels]))
    half = np.diff(edges) / 2.0
    coordinates = (edges[:-1] + half)[:, None] + half[:, None] * _NODES
    return coordinates.ravel(), (half[:, None] * _WEIGHTS).ravel()


def chance_to_be_best(arms: Mapping[str, Posterior], *, better_when_higher: bool = True) -> dict[str, float]:
    """Return for each arm the probability that its mean is the best of all; they sum to 1.

    ∫ f_i(x) Π F_j(x) dx by quadrature, correct to about 1e-8: no random draws, so the same sums always give
    the same chances, in any order of the arms. These are the shares of Thompson sampling.
    """
    if not arms:
        return {}
    keys = sorted(arms)
    ordered = [arms[key] for key in keys]
    coordinates, weights = nodes(ordered)
    values = ordered[0].value(coordinates)
    worse = np.array([each.below(values) if better_when_higher else each.above(values) for each in ordered])
    none = np.ones((1, values.size))
    earlier = np.cumprod(np.vstack([none, worse[:-1]]), axis=0)
    later = np.cumprod(np.vstack([none, worse[:0:-1]]), axis=0)[::-1]
    densities = np.array([each.density(coordinates) for each in ordered])
    chances = (densities * earlier * later) @ weights
    shares = chances / chances.sum()
    return {key: float(shares[row]) for row, key in enumerate(keys)}
