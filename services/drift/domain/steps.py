"""One closed window at a time: look at its features, at the recent labels, and keep the journal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.statistics.value_counts import ValueCounts
from schemas.health import DegradationCause, DriftState
from schemas.versions import ModelVersion, ReferenceProfile
from services.drift.domain.episodes import Sign
from services.drift.domain.features import judge_features, persistent
from services.drift.domain.health import named
from services.drift.domain.journal import Journal, PerformanceVerdict, WindowVerdict
from services.drift.domain.performance import ReferenceScore, enough_labels, judge_performance
from services.drift.domain.policy import JudgePolicy
from services.drift.domain.rows import Tally


@dataclass(frozen=True, slots=True)
class Reference:
    """What a version is compared with. `id` changes when the profile does; "" while there is none."""

    id: str
    profile: ReferenceProfile | None
    score: ReferenceScore | None
    score_until_ms: int
    """Windows up to this start made the score and are not judged by it; -1 for a registered one."""


def reference_of(journal: Journal, registered: ModelVersion | None) -> Reference:
    """Return the registered profile and score where there are such, else the version's own."""
    profile, name, until_ms = None, "", -1
    score: ReferenceScore | None = None
    if registered is not None and registered.reference is not None:
        profile, name = registered.reference, f"registered-{registered.created_at_ms}"
        if profile.score is not None:
            score = ReferenceScore(profile.score, profile.predictions)
    elif journal.baseline is not None:
        name, own = "own", journal.baseline.profile
        profile = ReferenceProfile.model_validate_json(own) if own else None
    if score is None and journal.score is not None:
        score = ReferenceScore(journal.score.score, journal.score.labelled)
        until_ms = journal.score.until_ms
    return Reference(name, profile, score, until_ms)


def adopt(journal: Journal, reference: Reference) -> None:
    """Begin anew where the profile is another one than before: old windows were looked at with other eyes."""
    if journal.reference_id != reference.id:
        journal.reference_id = reference.id
        journal.looks = 0
        journal.recent = []
        journal.features = ()
        journal.note = ""


def look_at_features(
    journal: Journal,
    window: Tally,
    reference: ReferenceProfile,
    counts: Mapping[str, ValueCounts],
    policy: JudgePolicy,
) -> Sign:
    """Judge one window's features, note the verdict, and return what it says about drift."""
    journal.features = judge_features(reference, counts, journal.looks + 1, policy)
    journal.looks += any(each.psi is not None for each in journal.features)
    stable = {each.feature for each in journal.features if each.state is DriftState.STABLE}
    drifted = tuple(each.feature for each in journal.features if each.state is DriftState.DRIFTED)
    journal.recent.append(
        WindowVerdict(window.start_ms, window.predictions, drifted, judged=bool(stable or drifted))
    )
    del journal.recent[: -policy.persist_of]
    episode = journal.episode(DegradationCause.DRIFT)
    about = set(episode.features) if episode is not None else set()
    well = bool(stable) and not drifted and about <= stable
    lasting = persistent(journal.recent, policy)
    since_ms = next((each.start_ms for each in journal.recent if set(each.drifted) & set(lasting)), 0)
    return Sign(
        DegradationCause.DRIFT,
        bad=bool(lasting),
        well=well,
        silent=not well and not drifted,
        features=lasting,
        since_ms=since_ms,
        title=f"{journal.key.model} {journal.key.version}: {len(lasting)} features drifted",
        detail=f"drifted in {policy.persist} of {policy.persist_of} windows: {named(lasting)}"
        if lasting
        else "no feature drifts persistently",
    )


def look_at_labels(
    journal: Journal, tallies: Sequence[Tally], reference: Reference, policy: JudgePolicy
) -> Sign | None:
    """Judge the accuracy over the windows up to now, note it, and return what it says about performance.

    None when it says nothing: too few labels, no reference score, or a regressor's real-valued outputs."""
    recent = [each for each in tallies if each.start_ms > reference.score_until_ms]
    if any(each.real_valued for each in recent):
        reason = "outputs are real numbers: accuracy does not apply to a regressor"
        journal.performance = PerformanceVerdict(reason=reason)
        return None
    if reference.score is None or not recent:
        journal.performance = PerformanceVerdict(
            reference_score=None if reference.score is None else reference.score.score,
            reason=f"no reference score yet: it takes {policy.reference_labels} labels",
        )
        return None
    looked = enough_labels(recent, policy)
    journal.score_looks += looked
    journal.performance = judge_performance(recent, reference.score, max(journal.score_looks, 1), policy)
    verdict = journal.performance
    if not looked:
        return None
    return Sign(
        DegradationCause.PERFORMANCE,
        bad=verdict.bad,
        well=verdict.well,
        since_ms=verdict.since_ms,
        title=f"{journal.key.model} {journal.key.version}: accuracy fell to {verdict.score or 0.0:.3f}",
        detail=f"{verdict.reason} (p {verdict.p_value:.2g} at level {verdict.level:.2g})",
    )
