"""All that advice may rest on, and what advice is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.statistics.comparisons import Answer
from schemas.experiments import Evidence, Experiment, VerdictKind
from services.metrics.domain.corrections import Family
from services.metrics.domain.evidence import Compared, to_evidence
from services.metrics.domain.memory import JudgeMemory
from services.metrics.domain.ramp import StageProgress
from services.metrics.domain.totals import ExperimentTotals

MAX_EVIDENCE = 100


@dataclass(frozen=True, slots=True)
class Advice:
    """What metrics would do, about which variant, and why."""

    kind: VerdictKind
    variant: str
    reason: str
    evidence: tuple[Evidence, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of a reallocation."""
    occasion: str = ""
    """Tells one cause from another of the same kind, where that is needed for the verdict's id."""


@dataclass(frozen=True, slots=True)
class Situation:
    """An experiment at one moment."""

    experiment: Experiment
    totals: ExperimentTotals
    compared: tuple[Compared, ...]
    progress: StageProgress
    memory: JudgeMemory
    """Of the judgements before this one."""
    corrected: Family
    now_ms: int

    @property
    def began_ms(self) -> int:
        """Return when the experiment started."""
        started_ms = self.experiment.started_at_ms
        return self.experiment.created_at_ms if started_ms is None else started_ms

    @property
    def first_treatment(self) -> str:
        """Return the first variant that is not control: there are at least two variants."""
        return next(each.key for each in self.experiment.variants if each.key != self.experiment.control)

    @property
    def compared_with_traffic(self) -> list[Compared]:
        """Return the comparisons of the variants that units are given."""
        given = {each.key for each in self.experiment.variants if each.weight > 0}
        return [each for each in self.compared if each.variant in given]

    def evidence(self, compared: list[Compared]) -> tuple[Evidence, ...]:
        """Return the always-valid evidence of these comparisons, for a verdict."""
        alpha = self.experiment.policy.alpha
        found = [
            to_evidence(each, each.answer, alpha) for each in compared if isinstance(each.answer, Answer)
        ]
        return tuple(found[:MAX_EVIDENCE])
