"""Hits among trials against a known chance, at every look: the beta-mixture e-value, exact at any size.

Under "each trial hits with chance s, whatever came before", the likelihood ratio of any other chance p is a
martingale that starts at 1, and so is its mixture over p ~ Beta(a, b):

    ln E = ln B(a + k, b + n - k) - ln B(a, b) - k ln s - (n - k) ln(1 - s)

By Ville's inequality E ever reaches 1 / alpha with a probability of at most alpha: no asymptotics, no
correction for looks. It is Robbins' (1970) mixture, and the beta-binomial bound of Howard, Ramdas, McAuliffe,
Sekhon (2021), whose sub-Bernoulli supermartingale is exactly this likelihood ratio.

One-sided: the prior is cut off at s. For the alternative p < s each likelihood ratio falls in expectation
under every chance >= s, so the evidence is valid against all of these, not only against s itself.

The prior is centred on s: a = strength s, b = strength (1 - s). The larger the strength, the smaller the
deviation it is tuned to: it is taken from the number of trials at which the bound shall be tightest, by the
same rule as the normal mixture's rho² = 1 / strength (`sequences.Tuning`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from scipy.special import betaln

from libs.statistics.sequences import Tuning
from libs.statistics.tails import check_alpha, log_beta_tail


class Side(Enum):
    """Which deviation from the known chance is looked for."""

    EITHER = "either"
    FEWER = "fewer"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class Mixture:
    """A known chance of a hit and what the test is tuned to. Raises ValueError by field."""

    chance: float
    strength: float
    """a + b of the prior, in trials."""

    def __post_init__(self) -> None:
        if not 0 < self.chance < 1:
            raise ValueError("chance: must lie between 0 and 1, both excluded")
        if not 0 < self.strength < math.inf:
            raise ValueError("strength: must be positive and finite")

    @classmethod
    def tuned_to(cls, chance: float, trials: int, alpha: float) -> "Mixture":
        """Return the mixture that is tightest at about so many trials, for a bound at level alpha."""
        return cls(chance, 1.0 / Tuning(alpha, trials).rho_squared)

    def log_e(self, hits: int, trials: int, side: Side = Side.EITHER) -> float:
        """Return ln E; finite, 0 without trials. Counts must be 0 <= hits <= trials."""
        s = self.chance
        a, b = self.strength * s + hits, self.strength * (1.0 - s) + (trials - hits)
        log_e = _log_mass(a, b, s, side) - _log_prior_mass(self.strength, s, side)
        return log_e - hits * math.log(s) - (trials - hits) * math.log1p(-s)

    def most_hits_that_are_too_few(self, trials: int, alpha: float) -> int | None:
        """Return the largest number of hits that excludes every chance >= `chance`; None where none does."""
        threshold, guess = _threshold(alpha), self._guess(trials * self.chance, trials, alpha)
        return _last(trials, guess, lambda hits: self.log_e(hits, trials, Side.FEWER) >= threshold)

    def fewest_hits_that_are_too_many(self, trials: int, alpha: float) -> int | None:
        """Return the smallest number of hits that excludes every chance <= `chance`; None where none does."""
        threshold, guess = _threshold(alpha), self._guess(trials * (1.0 - self.chance), trials, alpha)

        def too_many(misses: int) -> bool:
            return self.log_e(trials - misses, trials, Side.MORE) >= threshold

        misses = _last(trials, guess, too_many)
        return None if misses is None else trials - misses

    def _guess(self, expected: float, trials: int, alpha: float) -> int:
        """About where the bound lies: that of the normal mixture with the same rho² = 1 / strength."""
        grown = (trials + 1) / self.strength
        squared = (grown + 1.0) / grown * 2.0 * math.log1p(math.sqrt(grown + 1.0) / (2.0 * alpha))
        return int(expected - math.sqrt(trials * self.chance * (1.0 - self.chance) * squared))


@lru_cache(maxsize=1_024)
def _log_prior_mass(strength: float, chance: float, side: Side) -> float:
    return _log_mass(strength * chance, strength * (1.0 - chance), chance, side)


def _log_mass(a: float, b: float, s: float, side: Side) -> float:
    """ln of the integral of p^(a-1) (1-p)^(b-1) over all p, those below s, or those above."""
    mass = float(betaln(a, b))
    if side is Side.FEWER:
        mass += log_beta_tail(a, b, s)
    if side is Side.MORE:
        mass += log_beta_tail(b, a, 1.0 - s)
    return mass


def _threshold(alpha: float) -> float:
    check_alpha(alpha)
    return -math.log(alpha)


def _last(highest: int, guess: int, holds: Callable[[int], bool]) -> int | None:
    """The largest number in 0..highest that `holds`, as it does from 0 up to some number; None if nowhere.

    From a guess it walks in growing steps until it has one that holds and one that does not, then halves.
    """
    low, beyond, step = min(max(guess, 0), highest), highest + 1, 4
    while not holds(low):
        if not low:
            return None
        low, beyond, step = max(low - step, 0), low, 2 * step
    while low + 1 < beyond:
        probe = (low + beyond) // 2 if beyond <= highest else min(low + step, highest)
        if holds(probe):
            low, step = probe, 2 * step
        else:
            beyond = probe
    return low
