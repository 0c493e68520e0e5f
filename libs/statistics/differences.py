"""Two variants: the difference of their means or proportions, its variance, and the relative lift.

A variance of 0 in an arm would make an interval of no width, or half of one, from an arm of which we only
have not seen enough yet. Two rules keep it away:

* proportions: the variance of an arm is p(1 - p) of a proportion with one conversion and one miss added
  (Agresti and Caffo 2000); the estimate itself stays the plain difference. It is never 0, and it tends to
  the plain variance as units come.
* means: an arm whose units all have the same value borrows the variance of both arms taken together. Where
  that is 0 as well, every unit has the same value and there is no evidence either way.
"""

import math
from dataclasses import dataclass

from libs.statistics.sums import Sums


@dataclass(frozen=True, slots=True)
class NotEnough:
    """No numbers, and the reason why: neither a pass nor a fail."""

    reason: str


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant's mean and the variance of a single unit that the interval uses (positive)."""

    units: int
    mean: float
    variance: float

    @property
    def mean_variance(self) -> float:
        """Return the variance of the mean."""
        return self.variance / self.units


@dataclass(frozen=True, slots=True)
class Arms:
    """Treatment and control, ready to be compared."""

    treatment: Arm
    control: Arm

    @property
    def units(self) -> int:
        """Return the units of both."""
        return self.treatment.units + self.control.units

    @property
    def estimate(self) -> float:
        """Return the difference, treatment minus control."""
        return self.treatment.mean - self.control.mean

    @property
    def variance(self) -> float:
        """Return the variance of the difference, unpooled; positive."""
        return self.treatment.mean_variance + self.control.mean_variance

    def contrast(self, factor: float) -> tuple[float, float]:
        """Return treatment mean minus `factor` times control mean, and the variance of that.

        With factor 1 - m it is positive exactly when the treatment is not worse by the share m or more:
        a question about a ratio without dividing by an estimate (Fieller's way).
        """
        estimate = self.treatment.mean - factor * self.control.mean
        return estimate, self.treatment.mean_variance + factor * factor * self.control.mean_variance


def arms(treatment: Sums, control: Sums, *, proportion: bool) -> Arms | NotEnough:
    """Return both arms with positive variances, or why they cannot be compared."""
    if treatment.units < 2 or control.units < 2:
        return NotEnough("fewer than two units in a variant")
    if proportion:
        return Arms(_proportion(treatment), _proportion(control))
    spare = (treatment + control).variance
    if not spare:
        return NotEnough("every unit has the same value")
    return Arms(_mean(treatment, spare), _mean(control, spare))


def _proportion(sums: Sums) -> Arm:
    smoothed = (sums.converted_units + 1) / (sums.units + 2)
    return Arm(sums.units, sums.converted_units / sums.units, smoothed * (1.0 - smoothed))


def _mean(sums: Sums, spare: float) -> Arm:
    mean, variance = sums.mean, sums.variance
    assert mean is not None, "the caller asked for two units"
    return Arm(sums.units, mean, variance or spare)


@dataclass(frozen=True, slots=True)
class Lift:
    """Relative lift L = m1 / m0 - 1 and its variance by the delta method, the control's included."""

    estimate: float
    variance: float


def relative_lift(both: Arms) -> Lift | NotEnough:
    """Return the lift over control, relative to the size of the control's mean.

    Var(L) = v1 / (n1 m0²) + m1² v0 / (n0 m0⁴). Not identifiable where the control's mean is 0.
    """
    m1, m0 = both.treatment.mean, both.control.mean
    if m0 == 0.0:
        return NotEnough("the control's mean is 0: a relative lift does not exist")
    ratio = m1 / m0
    estimate = (m1 - m0) / abs(m0)
    variance = (both.treatment.mean_variance + ratio * ratio * both.control.mean_variance) / (m0 * m0)
    if not (math.isfinite(estimate) and math.isfinite(variance)):
        return NotEnough("the control's mean is too near 0 for a relative lift")
    return Lift(estimate, variance)
