"""Two rates as believed: how likely one beats the other, and by how much.

Every integral runs over the log-odds of the narrower distribution, whose nodes see the wider one as a smooth
curve. Where both arms have ten conversions and ten misses the density is nearly normal there, and the
trapezoidal rule with six nodes to two standard deviations is exact to 1e-10: its error falls with
exp(-(pi sd / step)^2). Elsewhere the nodes are Gauss-Legendre's, several times as many.

Quantiles of even arms are correct to 1e-5 of their spread (to 1e-3 beyond the millionth part), and to a
hundredth where an arm has hardly converted at all (a kink at 0). They are found by Newton's method on normal
scores, where a distribution function is nearly a line, all at a time; halving steps where it goes astray.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, ndtri

from libs.statistics.posteriors import RatePosterior, nodes

Floats = NDArray[np.float64]

_STEP: Final = 0.33
_LOSS_STEP: Final = 0.65
"""In standard deviations of the log-odds..."""
_LARGEST_STEP: Final = 0.3
"""...and at most this: the density of few conversions is analytic up to pi / 2 beside the axis, so that the
rule's error is exp(-pi^2 / 0.3)."""
_ALIKE: Final = 2.0
"""How many times as wide the arm may be that an integral runs over."""
_EDGE: Final = 1e-10
"""Where so large a part of the peak is at an edge, arms hardly meet: what a window leaves out matters."""
_MAX_NODES: Final = 250
_MAX_STEPS: Final = 100
_NEAR_EVEN: Final = 3e-4
_NEAR: Final = 1e-5
"""In spreads: after a step so small the next one would be about its square."""
_NEAR_SCORE: Final = 0.1
"""A short step from far away is a tail where the score is no line."""
_ROOT_TAU: Final = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True)
class RatePair:
    """Two rates. Keeps the promises of `posterior_pairs.Pair`."""

    treatment: RatePosterior
    control: RatePosterior

    @cached_property
    def _even(self) -> bool:
        return self.treatment.even and self.control.even

    @cached_property
    def _treatments(self) -> "_Grid":
        return _grid(self.treatment, even=self._even)

    @cached_property
    def _controls(self) -> "_Grid":
        return _grid(self.control, even=self._even)

    def chance_above(self) -> float:
        """Return P(treatment > control), to 1e-7 (an arm in which all converted is the worst case)."""
        if self.treatment.spread < self.control.spread:
            grid = self._treatments
            return min(1.0, float(grid.masses @ self.control.below(grid.values)))
        grid = self._controls
        return min(1.0, float(grid.masses @ self.treatment.above(grid.values)))

    def shortfall(self) -> float:
        """Return E max(control - treatment, 0). Nothing cancels: see `_losses`."""
        return self._losses[0]

    def excess(self) -> float:
        """Return E max(treatment - control, 0)."""
        return self._losses[1]

    @cached_property
    def _losses(self) -> tuple[float, float]:
        """Both. E max(c - t, 0) = ∫ P(t ≤ x < c) dx; only the smaller one is integrated, and what lies
        between them is the difference of the means."""
        better, worse = (self._treatments, self._controls)
        gain = self.estimate()
        if gain < 0.0:
            better, worse = worse, better
        small = _between(better, worse)
        return (small, small + gain) if gain >= 0.0 else (small - gain, small)

    def estimate(self) -> float:
        """Return the mean of the difference."""
        return self.treatment.mean - self.control.mean

    def quantiles(
        self, differences: Sequence[float], lifts: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """Return these quantiles of the difference of the rates, and of treatment / control - 1."""
        by_ratio = self._log_ratio(lifts)
        narrower = self.treatment.spread < self.control.spread
        if not self._even and self._alike:
            # Where treatment - control is negative its own rates do not meet control's kink at 0.
            negative = 1.0 - self.chance_above()
            found = [self._solve(self._contrast([each], each < negative)) for each in differences]
            return [float(each[0]) for each in found], np.expm1(self._solve(by_ratio)).tolist()
        by_difference = self._contrast(differences, narrower)
        if narrower == by_ratio.over_treatment:
            both = self._solve(by_difference.beside(by_ratio))
            return both[: len(differences)].tolist(), np.expm1(both[len(differences) :]).tolist()
        return self._solve(by_difference).tolist(), np.expm1(self._solve(by_ratio)).tolist()

    @property
    def _alike(self) -> bool:
        spreads = (self.treatment.spread, self.control.spread)
        return max(spreads) < _ALIKE * min(spreads)

    def _contrast(self, probabilities: Sequence[float], over_treatment: bool) -> "_Wanted":
        """Return what is wanted of the difference."""
        (low, high), (control_low, control_high) = self._treatments.ends, self._controls.ends
        return _Wanted.of(
            probabilities,
            over_treatment=over_treatment,
            ratio=False,
            about=(self.estimate(), math.hypot(self.treatment.spread, self.control.spread)),
            bracket=(low - control_high, high - control_low),
        )

    def _log_ratio(self, probabilities: Sequence[float]) -> "_Wanted":
        """Return what is wanted of ln(treatment / control): where neither arm is much narrower, over the one
        that the difference is integrated over, so that both are found together."""
        (low, high), (control_low, control_high) = self._treatments.ends, self._controls.ends
        relative = [each.spread / each.mean for each in (self.treatment, self.control)]
        over_treatment = relative[0] < relative[1]
        if max(relative) < _ALIKE * min(relative):
            over_treatment = self.treatment.spread < self.control.spread
        return _Wanted.of(
            probabilities,
            over_treatment=over_treatment,
            ratio=True,
            about=(math.log(self.treatment.mean / self.control.mean), math.hypot(*relative)),
            bracket=(math.log(low / control_high), math.log(high / control_low)),
        )

    def _solve(self, wanted: "_Wanted") -> Floats:
        """Return the quantiles. Over the treatment's rates t, P(treatment - control ≤ d) is the mass of
        control above t - d, and that of the ratio ≤ r the mass above t / r; over the control's rates c it is
        that of the treatment below c + d and c r."""
        if wanted.over_treatment:
            grid, cumulative, other, sign = self._treatments, self.control.above, self.control, -1.0
        else:
            grid, cumulative, other, sign = self._controls, self.treatment.below, self.treatment, 1.0
        values, masses, ratio = grid.values, grid.masses, wanted.ratio[:, None]

        def at(here: Floats) -> tuple[Floats, Floats]:
            move = sign * here[:, None]
            rates = np.where(ratio, values * np.exp(np.where(ratio, move, 0.0)), values + move)
            density = _density(other, rates)
            return cumulative(rates) @ masses, np.where(ratio, density * rates, density) @ masses

        return _roots(at, wanted, _NEAR_EVEN if self._even else _NEAR)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Rates of an arm and the probability that each stands for."""

    arm: RatePosterior
    window: tuple[float, float]
    """Log-odds."""
    ends: tuple[float, float]
    """The same as rates."""
    values: Floats
    masses: Floats


def _grid(arm: RatePosterior, *, even: bool) -> _Grid:
    window = arm.window()
    if even:
        coordinates = np.linspace(*window, math.ceil((window[1] - window[0]) / (_STEP * _sigma(arm))) + 1)
        masses = arm.density(coordinates)
    else:
        coordinates, weights = nodes([arm])
        masses = arm.density(coordinates) * weights
    low, high = arm.value(np.array(window)).tolist()
    return _Grid(arm, window, (low, high), arm.value(coordinates), masses / masses.sum())


def _sigma(arm: RatePosterior) -> float:
    """Return the standard deviation of the log-odds: trigamma functions, by three terms of their series."""
    counts = (arm.converted + 1.0, arm.missed + 1.0)
    return math.sqrt(sum(1.0 / each + 0.5 / each**2 + 1.0 / (6.0 * each**3) for each in counts))


def _density(arm: RatePosterior, rates: Floats) -> Floats:
    """Return the density per unit of the rate, 0 outside 0..1."""
    a, b = float(arm.converted), float(arm.missed)
    inside = np.minimum(np.maximum(rates, 1e-300), 1.0 - 1e-16)
    density = np.exp(a * np.log(inside) + b * np.log1p(-inside) - betaln(a + 1.0, b + 1.0))
    return np.where((rates > 0.0) & (rates < 1.0), density, 0.0)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Quantiles of distributions that are roughly normal around `near`, and surely within the bracket."""

    over_treatment: bool
    probabilities: Floats
    ratio: NDArray[np.bool_]
    near: Floats
    spread: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(
        cls,
        probabilities: Sequence[float],
        *,
        over_treatment: bool,
        ratio: bool,
        about: tuple[float, float],
        bracket: tuple[float, float],
    ) -> "_Wanted":
        """Return quantiles of one distribution; `about` is its middle and its spread."""
        count = len(probabilities)
        columns = [np.full(count, each) for each in (*about, *bracket)]
        return cls(over_treatment, np.array(probabilities), np.full(count, ratio), *columns)

    def beside(self, other: "_Wanted") -> "_Wanted":
        """Return both together."""
        columns = [
            np.concatenate([getattr(self, each.name), getattr(other, each.name)]) for each in fields(self)[1:]
        ]
        return _Wanted(self.over_treatment, *columns)


def _roots(at: Callable[[Floats], tuple[Floats, Floats]], wanted: _Wanted, tolerance: float) -> Floats:
    """Return the quantiles; `at` gives the distribution function and its slope. `tolerance`, in spreads, is
    of the last step."""
    scores, low, high = ndtri(wanted.probabilities), wanted.low, wanted.high
    here: Floats = np.minimum(np.maximum(wanted.near + scores * wanted.spread, low), high)
    small = tolerance * wanted.spread
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(_MAX_STEPS):
            reached, slope = at(here)
            below = reached < wanted.probabilities
            low, high = np.where(below, here, low), np.where(below, high, here)
            score = ndtri(np.minimum(reached, 1.0))
            missing = scores - score
            step = missing * np.exp(-0.5 * score * score) / (_ROOT_TAU * slope)
            there, is_small = here + step, np.abs(step) <= small
            near = is_small & (np.abs(missing) <= _NEAR_SCORE)
            here = np.where(near | (~is_small & (there > low) & (there < high)), there, 0.5 * (low + high))
            if near.all():
                break
    return here


def _between(lower: _Grid, upper: _Grid) -> float:
    """Return ∫ P(lower's rate ≤ x < upper's) dx: the trapezoidal rule over where both are."""
    steps = [min(_LOSS_STEP * _sigma(grid.arm), _LARGEST_STEP) for grid in (lower, upper)]
    start, end = lower.window[0] - 2.0 * steps[0], upper.window[1] + 2.0 * steps[1]
    count = math.ceil((end - start) / min(steps)) + 1
    if not 2 <= count <= _MAX_NODES:
        return _between_far(lower.arm, upper.arm)
    coordinates = np.linspace(start, end, count)
    values = lower.arm.value(coordinates)
    inner = lower.arm.below(values) * upper.arm.above(values) * values * lower.arm.value(-coordinates)
    if max(inner[0], inner[-1]) > _EDGE * inner.max():
        return _between_far(lower.arm, upper.arm)
    return float(inner.sum()) * (end - start) / (count - 1)


def _between_far(lower: RatePosterior, upper: RatePosterior) -> float:
    coordinates, weights = nodes([lower, upper])
    values = lower.value(coordinates)
    # d value = value (1 - value) d log-odds
    inner = lower.below(values) * upper.above(values) * values * lower.value(-coordinates)
    return float(inner @ weights)
