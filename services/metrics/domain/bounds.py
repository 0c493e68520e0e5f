"""What follows from bounds of both variants' numbers that hold together: harm, its absence, the lift."""

import math
from dataclasses import dataclass

from libs.statistics.comparisons import Question
from libs.statistics.differences import NotEnough
from libs.statistics.lifts import LiftInterval


@dataclass(frozen=True, slots=True)
class Bounds:
    """Estimates of treatment (1) and control (0), and between what the true ones lie."""

    estimate1: float
    low1: float
    high1: float
    estimate0: float
    low0: float
    high0: float

    def within_margin(self, question: Question) -> bool:
        """Return whether harm beyond the margin is excluded, wherever the two are."""
        if self.estimate0 == 0.0:
            return False
        least, most = self._allowed(question)
        return self.low1 > most if question.better_when_higher else self.high1 < least

    def beyond_margin(self, question: Question) -> bool:
        """Return whether harm up to the margin is excluded, wherever the two are."""
        if self.estimate0 == 0.0:
            return False
        least, most = self._allowed(question)
        return self.high1 < least if question.better_when_higher else self.low1 > most

    def _allowed(self, question: Question) -> tuple[float, float]:
        """Return the least and the most that the treatment may be at the margin."""
        margin = math.copysign(question.margin, self.estimate0)
        factor = 1.0 - margin if question.better_when_higher else 1.0 + margin
        return min(factor * self.low0, factor * self.high0), max(factor * self.low0, factor * self.high0)

    def lift(self, method: str) -> LiftInterval | NotEnough:
        """Return the relative lift between the extremes that the bounds allow."""
        if not self.low0 > 0.0:
            return NotEnough("the control is not told from 0 at this level: a lift has no bounded interval")
        lower = self.low1 / (self.high0 if self.low1 > 0.0 else self.low0) - 1.0
        upper = self.high1 / (self.low0 if self.high1 > 0.0 else self.high0) - 1.0
        if not math.isfinite(lower + upper):
            return NotEnough("the control is too near 0 for a relative lift")
        return LiftInterval(self.estimate1 / self.estimate0 - 1.0, lower, upper, method)
