"""From a journal to the record that everybody reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.health import DegradationCause, FeatureDrift, HealthState, ModelHealth, Performance
from schemas.names import MAX_TEXT_CHARS
from services.drift.domain.features import persistent
from services.drift.domain.journal import Journal
from services.drift.domain.policy import JudgePolicy

NAMED_FEATURES = 8
"""Features that a sentence names before it says "and more"."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was counted, and how far."""

    predictions: int
    labelled: int
    as_of_ms: int
    offsets: Mapping[str, int]


def health_of(journal: Journal, seen: Seen, policy: JudgePolicy, now_ms: int) -> ModelHealth:
    """Return the health of a version: its state, the latest window feature by feature, and why."""
    performance = journal.performance
    return ModelHealth(
        model=journal.key.model,
        version=journal.key.version,
        state=_state(journal),
        computed_at_ms=now_ms,
        as_of_ms=max(seen.as_of_ms, 0),
        predictions=seen.predictions,
        labelled=seen.labelled,
        window_predictions=journal.recent[-1].predictions if journal.recent else 0,
        drifted_features=len(persistent(journal.recent, policy)),
        features=tuple(
            FeatureDrift(
                feature=each.feature,
                state=each.state,
                predictions=each.values,
                psi=each.psi,
                ks=each.ks,
                ks_p_value=each.ks_p_value,
            )
            for each in journal.features
        ),
        performance=Performance(
            metric="accuracy",
            score=performance.score,
            reference_score=performance.reference_score,
            labelled=performance.labelled,
            error_change=performance.error_change,
            reason=performance.reason[:MAX_TEXT_CHARS],
        ),
        reason=reason_of(journal, policy)[:MAX_TEXT_CHARS],
        offsets=dict(seen.offsets),
    )


def reason_of(journal: Journal, policy: JudgePolicy) -> str:
    """Return the sentence that explains the state."""
    parts = []
    drifted = persistent(journal.recent, policy)
    if drifted:
        parts.append(
            f"{len(drifted)} of {len(journal.features)} features drifted in at least {policy.persist} of the "
            f"last {policy.persist_of} windows: {named(drifted)}"
        )
    elif any(each.judged for each in journal.recent):
        parts.append(f"no persistent drift in the last {len(journal.recent)} windows")
    elif journal.recent:
        parts.append(f"in the last {len(journal.recent)} windows no feature could be judged")
    if journal.performance.reason:
        parts.append(journal.performance.reason)
    if journal.note:
        parts.append(journal.note)
    return "; ".join(parts) or "nothing was judged yet"


def named(features: tuple[str, ...]) -> str:
    """Return a few names, and how many more there are."""
    rest = len(features) - NAMED_FEATURES
    return ", ".join(features[:NAMED_FEATURES]) + (f" and {rest} more" if rest > 0 else "")


def _state(journal: Journal) -> HealthState:
    if journal.episode(DegradationCause.PERFORMANCE) is not None:
        return HealthState.DEGRADED
    if journal.episode(DegradationCause.DRIFT) is not None:
        return HealthState.DRIFTING
    # A level is what a test of the score was held to: without one there was none.
    judged = any(each.judged for each in journal.recent) or journal.performance.level > 0
    return HealthState.HEALTHY if judged else HealthState.INSUFFICIENT
