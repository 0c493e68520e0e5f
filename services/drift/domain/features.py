"""Which features of a window have drifted from the reference, and which do so persistently."""

from collections import Counter
from collections.abc import Mapping, Sequence

from libs.statistics.accuracy import level_at_look
from libs.statistics.divergences import shift_of
from libs.statistics.value_counts import ValueCounts
from schemas.health import DriftState
from schemas.versions import FeatureReference, ReferenceProfile
from services.drift.domain.journal import FeatureVerdict, WindowVerdict
from services.drift.domain.policy import JudgePolicy


def judge_features(
    reference: ReferenceProfile, counts: Mapping[str, ValueCounts], look: int, policy: JudgePolicy
) -> tuple[FeatureVerdict, ...]:
    """Return the verdict on each feature of the reference, at the `look`-th window that is looked at.

    Drifted: PSI exceeds its mean under no drift by more than the threshold *and* the bound on the
    Kolmogorov-Smirnov p-value is at most the level of this look. Large but not certain, or too few values:
    insufficient.
    """
    level = level_at_look(policy.alpha, look) / max(len(reference.features), 1)
    return tuple(_judge(each, counts.get(each.feature), level, policy) for each in reference.features)


def persistent(recent: Sequence[WindowVerdict], policy: JudgePolicy) -> tuple[str, ...]:
    """Return the features that drifted in enough of the last windows, by name."""
    times = Counter(name for window in recent[-policy.persist_of :] for name in window.drifted)
    return tuple(sorted(name for name, count in times.items() if count >= policy.persist))


def _judge(
    reference: FeatureReference, counts: ValueCounts | None, level: float, policy: JudgePolicy
) -> FeatureVerdict:
    values = counts.total if counts is not None else 0
    if counts is None or values < policy.min_predictions or not sum(reference.counts):
        return FeatureVerdict(reference.feature, DriftState.INSUFFICIENT, values)
    shift = shift_of(reference, counts)
    state = DriftState.STABLE
    if shift.psi - shift.psi_by_chance > policy.psi_threshold:
        state = DriftState.DRIFTED if shift.ks_p_value <= level else DriftState.INSUFFICIENT
    return FeatureVerdict(reference.feature, state, values, shift.psi, shift.ks, shift.ks_p_value)
