"""What comes before the judge, and what comes out."""

from dataclasses import dataclass

from schemas.experiments import Experiment, Verdict
from schemas.health import Alert
from schemas.results import Result
from services.metrics.domain.memory import JudgeMemory
from services.metrics.domain.totals import ExperimentTotals


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be judged: the definition, the sums, and what the judge remembers."""

    experiment: Experiment
    totals: ExperimentTotals
    memory: JudgeMemory
    fresh: bool = True
    """False: nothing but the time is new since it was last judged, or no unit ever met it. Then it needs no
    result."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be published and remembered, together or not at all."""

    judged_at_ms: int
    result: Result | None
    """None when the bus does not take it, or there is nothing new to show: verdict and alerts go out all the
    same."""
    verdict: Verdict | None
    alerts: tuple[Alert, ...]
    memory: JudgeMemory
    again_at_ms: int | None = None
    """When to judge again though nothing may be new."""
