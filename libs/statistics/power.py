"""How many units an experiment needs, what it can see with those it gets, and how long that takes.

With the variance of one unit v1, v0 in treatment and control and the treatment's share s of the units, an
effect δ is found with probability 1 - β by a fixed test at level α when the units in all are

    N = (z(1 - α/2) + z(1 - β))² (v1 / s + v0 / (1 - s)) / δ²

(for halves: n per arm = (z + z)² (v0 + v1) / δ²; Fleiss, "Statistical Methods for Rates and Proportions").
"""

import math
from dataclasses import dataclass, field
from typing import Final

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from libs.statistics.differences import NotEnough

MOST_UNITS: Final = 10**15
"""An experiment that needs more is not possible: the effect is too small to be found."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A change one wants to find: its size and the variance of one unit in either arm, in the same terms."""

    size: float
    """Treatment minus control; of a lift the lift. Not 0."""
    treatment_variance: float
    control_variance: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.size) and self.size):
            raise ValueError("size: the effect to find must be a number other than 0")
        variances = (self.treatment_variance, self.control_variance)
        if not all(math.isfinite(each) and each >= 0.0 for each in variances) or not any(variances):
            raise ValueError("variance: must be finite, not negative, and not 0 in both arms")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The control as it is today. `variance` is that of one unit."""

    mean: float
    variance: float
    proportion: bool = False

    def __post_init__(self) -> None:
        if self.proportion and not 0.0 < self.mean < 1.0:
            raise ValueError("mean: a proportion must lie between 0 and 1, both excluded")
        if not (math.isfinite(self.mean) and math.isfinite(self.variance) and self.variance > 0.0):
            raise ValueError("variance: must be a positive number, and the mean finite")

    def difference(self, size: float) -> Effect:
        """Return the effect of a difference of `size` units of the metric.

        Raises ValueError where it takes a proportion out of 0..1.
        """
        if not self.proportion:
            return Effect(size, self.variance, self.variance)
        rate = self.mean + size
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"size: takes the proportion to {rate:.4g}, outside 0..1")
        return Effect(size, rate * (1.0 - rate), self.variance)

    def lift(self, size: float) -> Effect:
        """Return the effect of a relative lift of `size` (0.1: ten percent up), tested as a lift.

        Delta method: Var = v1 / m0² + (1 + L)² v0 / m0² per unit. Raises ValueError for a mean of 0.
        """
        square = self.mean * self.mean
        if not square:
            raise ValueError("mean: a relative lift needs a control mean other than 0")
        absolute = self.difference(size * abs(self.mean))
        ratio = 1.0 + size if self.mean > 0.0 else 1.0 - size
        return Effect(size, absolute.treatment_variance / square, ratio * ratio * self.variance / square)


def rate_baseline(rate: float) -> Baseline:
    """Return the baseline of a proportion. Raises ValueError unless it lies between 0 and 1."""
    return Baseline(rate, rate * (1.0 - rate), proportion=True)


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked of the test. Raises ValueError that names the field to change."""

    alpha: float = 0.05
    power: float = 0.8
    two_sided: bool = True
    treatment_share: float = 0.5
    """The treatment's share of the units of both."""

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("treatment_share", self.treatment_share)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name}: must lie between 0 and 1, both excluded")
        if not self.tail_alpha < self.power < 1.0:
            raise ValueError("power: must lie between the test's level and 1, both excluded")

    @property
    def tail_alpha(self) -> float:
        """Return the level of the tail the effect lies in."""
        return self.alpha / 2.0 if self.two_sided else self.alpha

    @property
    def critical(self) -> float:
        """Return z(1 - α/2), or z(1 - α) of a one-sided test."""
        return -float(ndtri(self.tail_alpha))

    @property
    def drift(self) -> float:
        """Return z(1 - α/2) + z(1 - β): the mean of z where the test has its power."""
        return self.critical + float(ndtri(self.power))

    def unit_variance(self, effect: Effect) -> float:
        """Return N times the variance of the estimate from N units in all."""
        share = self.treatment_share
        return effect.treatment_variance / share + effect.control_variance / (1.0 - share)


@dataclass(frozen=True, slots=True)
class Size:
    """How many units it takes."""

    treatment: int
    control: int

    @property
    def total(self) -> int:
        """Return the units of both."""
        return self.treatment + self.control


def sized(units: float, demands: Demands) -> Size | NotEnough:
    """Return that many units split by share, each rounded up to at least 2, or why they are too many."""
    if not units < MOST_UNITS:
        return NotEnough("the effect is too small: it would take more than 10^15 units; ask for a larger one")
    share = demands.treatment_share
    return Size(max(2, math.ceil(units * share)), max(2, math.ceil(units * (1.0 - share))))


def sample_size(effect: Effect, demands: Demands) -> Size | NotEnough:
    """Return the units that find the effect with the power asked, by one test at the end."""
    ratio = demands.drift / effect.size
    return sized(ratio * ratio * demands.unit_variance(effect), demands)


def power_of(effect: Effect, units: int, demands: Demands) -> float:
    """Return the chance to find the effect, in its own direction, with `units` in all; 0 without units."""
    if units <= 0:
        return 0.0
    z = abs(effect.size) / math.sqrt(demands.unit_variance(effect) / units)
    return float(ndtr(z - demands.critical))


def detectable_difference(baseline: Baseline, units: int, demands: Demands) -> float | NotEnough:
    """Return the smallest increase that `units` in all find with the power asked, in units of the metric.

    Of a proportion the treatment's variance follows its rate, and there may be none below 100 %.
    """
    if units < 4:
        return NotEnough(f"{units} units; it takes at least two in either arm")
    if not baseline.proportion:
        same = Effect(1.0, baseline.variance, baseline.variance)
        return demands.drift * math.sqrt(demands.unit_variance(same) / units)

    def excess(size: float) -> float:
        variance = demands.unit_variance(baseline.difference(size)) / units
        return size - demands.drift * math.sqrt(variance)

    highest = (1.0 - baseline.mean) * (1.0 - 1e-12)
    if excess(highest) < 0.0:
        return NotEnough(f"with {units} units no rise of this proportion can be found")
    return float(brentq(excess, 1e-12 * highest, highest, xtol=1e-15))


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long it takes from here."""

    units_left: int
    hours_left: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an experiment gets: units so far in either arm, and new ones an hour over both."""

    treatment: int
    control: int
    units_per_hour: float
    demands: Demands = field(default_factory=Demands)


def run_time(needed: Size, traffic: Traffic) -> Forecast | NotEnough:
    """Return how long the live traffic takes until either arm has what it needs: the slower one decides."""
    if not (math.isfinite(traffic.units_per_hour) and traffic.units_per_hour > 0.0):
        return NotEnough("no units arrive: without traffic there is no end")
    share = traffic.demands.treatment_share
    treatment = max(0, needed.treatment - traffic.treatment)
    control = max(0, needed.control - traffic.control)
    hours = max(treatment / share, control / (1.0 - share)) / traffic.units_per_hour
    if not math.isfinite(hours):
        return NotEnough("so few units arrive that no end can be named")
    return Forecast(treatment + control, hours)
