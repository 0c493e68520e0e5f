"""One variant against control on one metric: all that an answer may rest on, and the two arms by its kind."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.statistics.comparisons import Question
from libs.statistics.cuped import Adjustment, adjusted_arms
from libs.statistics.differences import Arms, NotEnough, arms
from libs.statistics.fixed_horizon import mean_arms
from libs.statistics.ratios import ratio_arms
from libs.statistics.sums import Sums
from schemas.experiments import Metric, MetricKind, Policy
from services.metrics.domain.memory import LookMemory

Sketch = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Matter:
    """Equal matters have equal answers: whatever an answer depends on stands here."""

    treatment: Sums
    control: Sums
    metric: Metric
    policy: Policy
    question: Question
    sketches: tuple[Sketch, Sketch]
    """Of treatment and control; empty unless the metric is a quantile."""
    adjustment: Adjustment | None
    """CUPED's, over all variants; None where the metric has no covariate."""
    share: float | None
    """The treatment's configured share of the units of both; None where it changed on the way."""
    units: int
    """Of all variants together."""
    look: LookMemory | None
    """The last planned look that was taken."""

    @property
    def is_quantile(self) -> bool:
        """Return whether the numbers come from sketches and not from sums."""
        return self.metric.kind is MetricKind.QUANTILE

    def arms(self, *, floored: bool = True) -> Arms | NotEnough:
        """Return both arms; `floored` for what is looked at more than once."""
        if self.is_quantile:
            return NotEnough("a quantile has no mean and no variance")
        if self.metric.kind is MetricKind.RATIO:
            return ratio_arms(self.treatment, self.control, floored=floored)
        if self.adjustment is not None:
            return adjusted_arms(self.treatment, self.control, self.adjustment, floored=floored)
        if floored:
            return arms(self.treatment, self.control, proportion=self.question.proportion)
        return mean_arms(self.treatment, self.control)
