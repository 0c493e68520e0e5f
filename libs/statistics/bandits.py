"""Bandits: from what each variant earned so far to its share of the next units.

A share is the propensity with which the next unit is given that variant; it is to be logged with every
exposure, because the effect is estimated from it afterwards (`ipw`), never from raw means. Every variant
keeps at least a floor of 1 %, so that no propensity is too small to divide by and a variant that had bad luck
is seen again. Shares are a function of the sums alone: no random draws, no order of variants.

Rewards come late. Give only the sums of units whose window has closed: otherwise a variant with fresh units
looks worse than it is, and the policy feeds on that.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from libs.statistics.bayes import Prior, best_of
from libs.statistics.differences import NotEnough
from libs.statistics.sums import MICRO, Sums

DEFAULT_FLOOR: Final = 0.01
_TIE: Final = 1e-12


class Policy(StrEnum):
    """How what was learnt becomes shares.

    `thompson`: the posterior chance to be best (Thompson 1933), computed by quadrature, which is the chance
    that a draw from each posterior has this variant on top. `epsilon_greedy`: the best so far, and epsilon
    spread over all (Sutton, Barto, chapter 2). `ucb1`: the one with the highest upper confidence bound: of a
    proportion UCB1, of a mean UCB1-NORMAL (Auer, Cesa-Bianchi, Fischer 2002).
    """

    THOMPSON = "thompson"
    EPSILON_GREEDY = "epsilon_greedy"
    UCB1 = "ucb1"


@dataclass(frozen=True, slots=True)
class Bandit:
    """The settings of a bandit. Raises ValueError that names the field to change."""

    policy: Policy
    proportion: bool
    better_when_higher: bool = True
    floor: float = DEFAULT_FLOOR
    """The least share of any variant."""
    epsilon: float = 0.1
    """Of epsilon-greedy: the part of the units that is spread evenly."""

    def __post_init__(self) -> None:
        if not 0.0 < self.floor <= 1.0:
            raise ValueError("floor: must lie above 0 and be at most 1, 0.01 is usual")
        if not 0.0 <= self.epsilon <= 1.0:
            raise ValueError("epsilon: must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Allocation:
    """The next shares: positive, each at least the floor, summing to 1."""

    shares: Mapping[str, float]
    reason: str
    """In words: what the shares follow from."""


def allocate(variants: Mapping[str, Sums], bandit: Bandit) -> Allocation:
    """Return the shares of the variants for the next units.

    While some variant has too few units to be judged (none; of a mean, fewer than two or no variance at all)
    the shares are equal. Raises ValueError without variants, or for so many that the floor cannot be kept.
    """
    if not variants:
        raise ValueError("variants: a bandit needs at least one")
    if bandit.floor * len(variants) > 1.0 + 1e-12:
        raise ValueError(f"floor: {len(variants)} variants cannot each have {bandit.floor:.2%}; lower it")
    ordered = {key: variants[key] for key in sorted(variants)}
    least = 1 if bandit.proportion else 2
    if min(sums.units for sums in ordered.values()) < least:
        return Allocation(_even(ordered), "equal shares until every variant has units to judge it by")
    learnt = _LEARN[bandit.policy](ordered, bandit)
    if isinstance(learnt, NotEnough):
        return Allocation(_even(ordered), f"equal shares: {learnt.reason}")
    rest = max(0.0, 1.0 - bandit.floor * len(learnt))
    # Mixing with the floor, not cutting off at it, keeps the order and the sum.
    shares = {key: bandit.floor + rest * share for key, share in learnt.items()}
    return Allocation(shares, _REASONS[bandit.policy])


def _even(variants: Mapping[str, Sums]) -> dict[str, float]:
    return {key: 1.0 / len(variants) for key in variants}


def _thompson(variants: Mapping[str, Sums], bandit: Bandit) -> dict[str, float] | NotEnough:
    return best_of(variants, Prior(bandit.proportion, better_when_higher=bandit.better_when_higher))


def _epsilon_greedy(variants: Mapping[str, Sums], bandit: Bandit) -> dict[str, float]:
    best = _best({key: _reward(sums, bandit) for key, sums in variants.items()})
    kept, spread = 1.0 - bandit.epsilon, bandit.epsilon / len(variants)
    return {key: kept * share + spread for key, share in best.items()}


def _ucb1(variants: Mapping[str, Sums], bandit: Bandit) -> dict[str, float]:
    total = sum(sums.units for sums in variants.values())
    return _best({key: _reward(sums, bandit) + _width(sums, total, bandit) for key, sums in variants.items()})


_LEARN: Final[Mapping[Policy, Callable[[Mapping[str, Sums], Bandit], dict[str, float] | NotEnough]]] = {
    Policy.THOMPSON: _thompson,
    Policy.EPSILON_GREEDY: _epsilon_greedy,
    Policy.UCB1: _ucb1,
}
_REASONS: Final = {
    Policy.THOMPSON: "shares follow the chance to be best",
    Policy.EPSILON_GREEDY: "the best so far, and epsilon spread over all",
    Policy.UCB1: "the highest upper confidence bound",
}


def _best(scores: Mapping[str, float]) -> dict[str, float]:
    """All to the highest; those that tie share it."""
    top = max(scores.values())
    winners = [key for key, score in scores.items() if score >= top - _TIE * abs(top)]
    return {key: 1.0 / len(winners) if key in winners else 0.0 for key in scores}


def _reward(sums: Sums, bandit: Bandit) -> float:
    mean = sums.converted_units / sums.units if bandit.proportion else sums.total / (sums.units * MICRO)
    return mean if bandit.better_when_higher else -mean


def _width(sums: Sums, total: int, bandit: Bandit) -> float:
    if bandit.proportion:
        return math.sqrt(2.0 * math.log(total) / sums.units)
    # 16 (q - n x̄²) / (n - 1) · ln(N - 1) / n, where (q - n x̄²) / (n - 1) is the variance.
    return math.sqrt(16.0 * (sums.variance or 0.0) * math.log(total - 1) / sums.units) if total > 2 else 0.0
