"""The chance that a normal walk crosses a boundary at each of a few looks, by recursive integration.

Source: Armitage, McPherson, Rowe, "Repeated significance tests on accumulating data" (1969); Jennison,
Turnbull, "Group Sequential Methods" (2000), chapter 19. At information fraction τ the score S = Z √τ is a
Brownian motion with the drift η (the mean of Z at τ = 1): from one look to the next it moves by a normal
step of mean ηΔ and variance Δ. What is kept from look to look is the density of S over the paths that have
crossed nothing yet, on Gauss-Legendre nodes: the density is smooth at the scale of the steps, so panels of
that width give ten digits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Floats = NDArray[np.float64]

REACH: Final = 10.0
"""Standard deviations from its mean beyond which the walk is not followed: 1.5e-23 of it is left out."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_PANEL_STEPS: Final = 2.0
"""Width of a panel in standard deviations of the shorter of the steps before and after."""
_ROOT_TWO_PI: Final = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class Walk:
    """Where the walk may be at `fraction`, having crossed nothing: scores, and the mass on each of them."""

    fraction: float
    scores: Floats
    masses: Floats


START: Final = Walk(0.0, np.zeros(1), np.ones(1))
"""Before anything was seen: the score is 0."""


@dataclass(frozen=True, slots=True)
class Exits:
    """The chance to leave through the upper and the lower bound, look by look."""

    upper: tuple[float, ...]
    lower: tuple[float, ...]

    @property
    def total(self) -> float:
        """Return the chance to leave at all."""
        return min(1.0, math.fsum(self.upper) + math.fsum(self.lower))


def log_upper_exit(walk: Walk, fraction: float, z: float, drift: float = 0.0) -> float:
    """Return ln P(nothing was crossed before, and Z ≥ z at `fraction`); -inf where no path is left."""
    return _log_exit(walk, fraction, (walk.scores - z * math.sqrt(fraction)), drift)


def log_lower_exit(walk: Walk, fraction: float, z: float, drift: float = 0.0) -> float:
    """Return ln P(nothing was crossed before, and Z ≤ z at `fraction`); -inf where no path is left."""
    return _log_exit(walk, fraction, (z * math.sqrt(fraction) - walk.scores), -drift)


def _log_exit(walk: Walk, fraction: float, ahead: Floats, drift: float) -> float:
    if not walk.masses.size:
        return -math.inf
    step = fraction - walk.fraction
    logs = log_ndtr((ahead + drift * step) / math.sqrt(step))
    largest = float(logs.max())
    if largest == -math.inf:
        return -math.inf
    held = float(walk.masses @ np.exp(logs - largest))
    return largest + math.log(held) if held > 0.0 else -math.inf


def walk_on(walk: Walk, fraction: float, bounds: tuple[float, float], next_step: float, drift: float) -> Walk:
    """Return the walk at `fraction`, kept between `bounds` (in Z), on nodes fit for a step of `next_step`."""
    step, root = fraction - walk.fraction, math.sqrt(fraction)
    centre = drift * fraction
    low = max(bounds[0] * root, centre - REACH * root)
    high = min(bounds[1] * root, centre + REACH * root)
    if low >= high:
        return Walk(fraction, np.zeros(0), np.zeros(0))
    panels = math.ceil((high - low) / (_PANEL_STEPS * math.sqrt(min(step, next_step))))
    half = (high - low) / (2 * panels)
    middles = low + half * (2 * np.arange(panels) + 1)
    scores = (middles[:, None] + half * _NODES).ravel()
    away = (scores[:, None] - (walk.scores + drift * step)) / math.sqrt(2.0 * step)
    density = np.exp(-(away * away)) @ walk.masses / (_ROOT_TWO_PI * math.sqrt(step))
    return Walk(fraction, scores, density * np.tile(half * _WEIGHTS, panels))


def exit_probabilities(
    fractions: Sequence[float], bounds: Sequence[tuple[float, float]], drift: float = 0.0
) -> Exits:
    """Return the chances to leave through `bounds` (lower, upper; in Z) at the looks at `fractions`.

    `drift` is the mean of Z at fraction 1: 0 under no effect, z(α) + z(β) where a fixed sample has its power.
    """
    walk, upper, lower = START, [], []
    for look, (fraction, (low, high)) in enumerate(zip(fractions, bounds, strict=True)):
        upper.append(math.exp(log_upper_exit(walk, fraction, high, drift)))
        lower.append(math.exp(log_lower_exit(walk, fraction, low, drift)))
        if look + 1 < len(fractions):
            walk = walk_on(walk, fraction, (low, high), fractions[look + 1] - fraction, drift)
    return Exits(tuple(upper), tuple(lower))
