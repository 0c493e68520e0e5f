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


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be published and remembered, together or not at all."""

    judged_at_ms: int
    result: Result | None
    """None when the bus does not take it: verdict and alerts go out all the same."""
    verdict: Verdict | None
    alerts: tuple[Alert, ...]
    memory: JudgeMemory
