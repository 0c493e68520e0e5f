"""Several goals, several variants: p-values adjusted so that the family keeps its error rate."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.statistics.multiple_testing import benjamini_hochberg, holm
from schemas.experiments import MetricRole, Policy
from schemas.policies import Correction
from services.metrics.domain.evidence import Compared, shown_log_p

_ADJUST = {Correction.HOLM: holm, Correction.BENJAMINI_HOCHBERG: benjamini_hochberg}
_NAMES = {Correction.HOLM: "Holm", Correction.BENJAMINI_HOCHBERG: "Benjamini-Hochberg"}


@dataclass(frozen=True, slots=True)
class Family:
    """The goals that have a p-value, by question: ln of the adjusted one. Guardrails stay out.

    Goals without one count as questions, too: else the others' would change when it comes.
    """

    name: str = ""
    log_p: Mapping[str, float] = field(default_factory=dict)


def family(policy: Policy, compared: tuple[Compared, ...], smallest: Mapping[str, float]) -> Family:
    """Return the family of all goals over all variants; an empty one where the policy corrects nothing."""
    if policy.correction is Correction.NONE:
        return Family()
    goals = [each for each in compared if each.metric.role is MetricRole.GOAL]
    found = {each.key: shown_log_p(each, smallest) for each in goals}
    every = adjusted(policy.correction, {key: log_p or 0.0 for key, log_p in found.items()})
    name = f"{_NAMES[policy.correction]} over {len(found)} questions: every goal of every variant"
    return Family(name, {key: every[key] for key, log_p in found.items() if log_p is not None})


def adjusted(correction: Correction, log_p: Mapping[str, float]) -> Mapping[str, float]:
    """Return ln of the adjusted p-values; the plain ones where nothing is corrected."""
    return log_p if correction is Correction.NONE else _ADJUST[correction](log_p)
