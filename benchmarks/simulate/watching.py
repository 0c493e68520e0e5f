"""When does a rule fire in each run? Found over arrays, and put before the product's own functions.

The product is asked at the first alarm of every run that has one, at the strongest look of every run that
comes near to one, and at looks picked by lot. One different answer ends the simulation.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.simulate.arrays import Method, Pairs
from benchmarks.simulate.populations import Floats, Ints
from benchmarks.simulate.rules import Rule
from benchmarks.simulate.streams import Watched
from libs.statistics.comparisons import Question
from libs.statistics.differences import NotEnough

NEVER = -1
_NEAR = 0.05
"""Standard errors from the bound within which a look is a near miss."""
_PICKED = 50
_ROUNDING = 1e-7
"""Nearer to the bound than this the order of the operations decides."""


class Disagreement(AssertionError):
    """The formulas over arrays and the product's differ: either is wrong, no claim can be made."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Runs of an experiment, and how their sums become arms."""

    watched: Watched
    method: Method
    pairs: Pairs

    @classmethod
    def of(cls, watched: Watched, method: Method) -> "Watcher":
        """Return the watcher of these runs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(watched, method, method.pairs(watched))

    def first_alarms(self, rule: Rule, question: Question) -> Ints:
        """Return the number of the look at which the rule first fires in each run, or `NEVER`.

        Raises Disagreement.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = rule.excess(self.pairs, question)
        fewest = np.minimum(self.pairs.n1, self.pairs.n0)
        there = self.pairs.there & (fewest >= question.burn_in_units) & ~np.isnan(excess)
        excess = np.where(there, excess, -np.inf)
        self._agree(excess, rule, question)
        fired = excess > 0.0
        return np.where(fired.any(axis=1), fired.argmax(axis=1), NEVER)

    def alarms(self, rule: Rule, question: Question) -> int:
        """Return the number of runs in which the rule fires at all."""
        return int((self.first_alarms(rule, question) != NEVER).sum())

    def _agree(self, excess: Floats, rule: Rule, question: Question) -> None:
        runs, looks = self.watched.shape
        fired = excess > 0.0
        asked = {(run, int(fired[run].argmax())) for run in np.flatnonzero(fired.any(axis=1)).tolist()}
        strongest = excess.argmax(axis=1)
        near = excess[np.arange(runs), strongest] > -_NEAR
        asked |= {(run, int(strongest[run])) for run in np.flatnonzero(near).tolist()}
        picked = np.random.default_rng(runs * looks).integers(0, (runs, looks), (_PICKED, 2))
        asked |= {(int(run), int(look)) for run, look in picked}
        for run, look in sorted(asked):
            if abs(excess[run, look]) > _ROUNDING and self._fires(run, look, rule, question) != (
                excess[run, look] > 0.0
            ):
                raise Disagreement(
                    f"{self.method.name}, {rule.name}: run {run}, look {look}, excess {excess[run, look]:.3g}"
                )

    def _fires(self, run: int, look: int, rule: Rule, question: Question) -> bool:
        treatment, control = self.watched.sums(run, look)
        if min(treatment.units, control.units) < max(2, question.burn_in_units):
            return False
        found = self.method.arms(treatment, control)
        return not isinstance(found, NotEnough) and rule.fires(found, question)
