"""A treatment against control in the words of Bayes: chance to beat it, expected loss, credible intervals.

Rates start from Beta(1, 1), means from a flat prior (then the posterior of a mean is normal around the
observed one; Gelman et al., "Bayesian Data Analysis", chapters 2 and 3). Expected loss is that of VWO's white
paper (Stucchio 2015): what choosing wrongly costs on average, in units of the metric.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from libs.statistics.differences import Arm, Arms, NotEnough, arms
from libs.statistics.posterior_pairs import CONTROL_ERRORS, MeanPair, Pair
from libs.statistics.posteriors import MeanPosterior, Posterior, chance_to_be_best, rate_posterior
from libs.statistics.rate_pairs import RatePair
from libs.statistics.sums import Sums

CONTINUOUS_LOOKING: Final = (
    "Bayesian figures are not protected against continuous looking: stopping as soon as the chance to beat "
    "control is high finds winners among equals far more often than the chance suggests. Decide at a size "
    "fixed in advance, or use the always-valid interval."
)
"""What every report with these figures says."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is asked, before the data. Raises ValueError for an alpha outside (0, 1)."""

    proportion: bool
    better_when_higher: bool = True
    alpha: float = 0.05
    """1 - alpha is the probability inside a credible interval, alpha / 2 on either side."""

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise ValueError("alpha: must lie between 0 and 1, both excluded")


@dataclass(frozen=True, slots=True)
class Credible:
    """An equal-tailed credible interval around an estimate."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of treatment and control."""

    chance_to_beat_control: float
    """Probability that the treatment is the better one."""
    expected_loss: float
    """What choosing the treatment costs on average, in units of the metric: 0 where it is surely better."""
    expected_loss_of_control: float
    """What keeping the control costs on average."""
    difference: Credible
    """Treatment minus control, around its posterior mean."""
    lift: Credible | NotEnough
    """Difference over the size of the control's mean, around its posterior median."""


def believe(treatment: Sums, control: Sums, prior: Prior) -> Belief | NotEnough:
    """Return the belief after the data, or why a mean has none: too few units, or no variance anywhere.

    Of a proportion there is always one; without data it is wide. Variances of means are those of
    `differences.arms`.
    """
    if prior.proportion:
        return _belief(RatePair(rate_posterior(treatment), rate_posterior(control)), prior)
    return believe_arms(arms(treatment, control, proportion=False), prior)


def believe_arms(both: Arms | NotEnough, prior: Prior) -> Belief | NotEnough:
    """Return the same of any two arms, taken as normal: those of `ratios` and `cuped` as well as means."""
    if isinstance(both, NotEnough):
        return both
    return _belief(MeanPair(_of_mean(both.treatment), _of_mean(both.control)), prior)


def _of_mean(arm: Arm) -> MeanPosterior:
    return MeanPosterior(arm.mean, arm.mean_variance**0.5)


def _belief(pair: Pair, prior: Prior) -> Belief:
    low, high = prior.alpha / 2.0, 1.0 - prior.alpha / 2.0
    above, short, over = pair.chance_above(), pair.shortfall(), pair.excess()
    ends, lifts = pair.quantiles((low, high), (0.5, low, high))
    lift: Credible | NotEnough
    if lifts is None:
        lift = NotEnough(f"the control's mean is within {CONTROL_ERRORS:g} standard errors of 0")
    else:
        lift = Credible(*lifts)
    return Belief(
        chance_to_beat_control=above if prior.better_when_higher else 1.0 - above,
        expected_loss=short if prior.better_when_higher else over,
        expected_loss_of_control=over if prior.better_when_higher else short,
        difference=Credible(pair.estimate(), *ends),
        lift=lift,
    )


def best_of(variants: Mapping[str, Sums], prior: Prior) -> dict[str, float] | NotEnough:
    """Return each variant's chance to be the best of all; they sum to 1.

    Means need two units in every variant and some variance; a variant's own may not be below that of all
    together, as in `differences`.
    """
    if prior.proportion:
        rates: dict[str, Posterior] = {key: rate_posterior(sums) for key, sums in variants.items()}
        return chance_to_be_best(rates, better_when_higher=prior.better_when_higher)
    pooled = sum(variants.values(), Sums()).variance
    if not pooled:
        return NotEnough("every unit has the same value")
    means: dict[str, Posterior] = {}
    for key, sums in variants.items():
        mean, variance = sums.mean, sums.variance
        if mean is None or variance is None:
            return NotEnough("fewer than two units in a variant")
        means[key] = MeanPosterior(mean, (max(variance, pooled) / sums.units) ** 0.5)
    return chance_to_be_best(means, better_when_higher=prior.better_when_higher)
