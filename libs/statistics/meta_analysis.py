"""What several experiments say together: one effect for all (fixed), or effects that differ (random).

Sources: inverse variance; DerSimonian, Laird, "Meta-analysis in clinical trials" (1986) for τ²; Higgins,
Thompson (2002) for I²; Higgins, Thompson, Spiegelhalter (2009) for the prediction interval. Estimates must be
in the same terms, such as the relative lift of the same metric.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import log_ndtr, ndtri, stdtrit

from libs.statistics.chi_square import log_chi_square_tail
from libs.statistics.differences import NotEnough


@dataclass(frozen=True, slots=True)
class Study:
    """One experiment's effect. The variance is that of the estimate."""

    name: str
    estimate: float
    variance: float


@dataclass(frozen=True, slots=True)
class Pooled:
    """A joint estimate with its interval and ln of the two-sided p-value of "no effect"."""

    estimate: float
    variance: float
    lower: float
    upper: float
    log_p: float


@dataclass(frozen=True, slots=True)
class Synthesis:
    """All of it."""

    fixed: Pooled
    """Every experiment has the same effect."""
    random: Pooled
    """Effects scatter around a mean, which this estimates."""
    tau_squared: float
    """Variance of the effects between experiments (DerSimonian, Laird); 0 where Q is at most its mean."""
    q: float
    """Cochran's Q, chi-square with k - 1 degrees of freedom if the effects are equal."""
    log_p_q: float
    i_squared: float
    """Share of the variation that is not chance, 0 to 1."""
    prediction: tuple[float, float] | NotEnough
    """Where the effect of a next experiment lies, t with k - 2 degrees of freedom: from three on."""


def synthesise(studies: Sequence[Study], *, alpha: float = 0.05) -> Synthesis | NotEnough:
    """Return what the studies say together, or which of them has no usable numbers.

    Raises ValueError for an alpha outside (0, 1).
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError("alpha: must lie between 0 and 1, both excluded")
    if not studies:
        return NotEnough("no experiment was given")
    for study in studies:
        if not (math.isfinite(study.estimate) and math.isfinite(study.variance) and study.variance > 0.0):
            return NotEnough(f"{study.name}: needs a finite estimate and a positive, finite variance")
    # In units of the largest number involved no square can overflow and no weight can be infinite.
    scale = max(max(abs(each.estimate), math.sqrt(each.variance)) for each in studies)
    estimates = [each.estimate / scale for each in studies]
    variances = [each.variance / scale / scale for each in studies]
    if min(variances) < 1e-250:
        return NotEnough("the variances differ by more than a float can hold")
    return _synthesis(estimates, variances, alpha, scale)


def _synthesis(estimates: list[float], variances: list[float], alpha: float, scale: float) -> Synthesis:
    count = len(estimates)
    weights = [1.0 / each for each in variances]
    total = math.fsum(weights)
    centre = _mean(estimates, weights)
    q = math.fsum(weight * (each - centre) ** 2 for weight, each in zip(weights, estimates, strict=True))
    freedom = count - 1
    # Σw - Σw² / Σw, written so that nothing cancels where one study outweighs all the others.
    spread = math.fsum(weight * (1.0 - weight / total) for weight in weights)
    tau_squared = max(0.0, (q - freedom) / spread) if freedom and spread > 0.0 else 0.0
    random_weights = [1.0 / (each + tau_squared) for each in variances]
    random_centre, random_variance = _mean(estimates, random_weights), 1.0 / math.fsum(random_weights)
    prediction: tuple[float, float] | NotEnough
    if count < 3:
        prediction = NotEnough(f"{count} experiments; a prediction interval needs three")
    else:
        reach = -float(stdtrit(count - 2, alpha / 2.0)) * math.sqrt(tau_squared + random_variance)
        prediction = (scale * (random_centre - reach), scale * (random_centre + reach))
    return Synthesis(
        fixed=_pooled(centre, 1.0 / total, alpha, scale),
        random=_pooled(random_centre, random_variance, alpha, scale),
        tau_squared=tau_squared * scale * scale,
        q=q,
        log_p_q=log_chi_square_tail(q, freedom) if freedom else 0.0,
        i_squared=max(0.0, 1.0 - freedom / q) if q > 0.0 else 0.0,
        prediction=prediction,
    )


def _mean(estimates: list[float], weights: list[float]) -> float:
    total = math.fsum(weights)
    return math.fsum(weight / total * each for weight, each in zip(weights, estimates, strict=True))


def _pooled(estimate: float, variance: float, alpha: float, scale: float) -> Pooled:
    error = math.sqrt(variance)
    radius = -float(ndtri(alpha / 2.0)) * error
    z = min(abs(estimate / error), 1e150)
    return Pooled(
        estimate=estimate * scale,
        variance=variance * scale * scale,
        lower=(estimate - radius) * scale,
        upper=(estimate + radius) * scale,
        log_p=min(0.0, math.log(2.0) + float(log_ndtr(-z))),
    )
