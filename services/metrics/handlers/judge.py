"""Judge one experiment: from totals and memory to a result, perhaps a verdict, perhaps alerts."""

from libs.common.ids import derived_id
from schemas.experiments import Verdict, VerdictKind
from services.metrics.domain.advice import advise
from services.metrics.domain.alerts import LEAK, follow_episodes, sightings
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.corrections import family
from services.metrics.domain.evidence import Before, compare_all, looks_taken, smallest_p_values
from services.metrics.domain.known import Known
from services.metrics.domain.leaks import (
    BLIND,
    LOOK_AGAIN_MS,
    Leaks,
    Watch,
    awaits_verification,
    find_leaks,
    is_over,
    verify,
)
from services.metrics.domain.memory import JudgeMemory, RatioMemory
from services.metrics.domain.published import comparisons
from services.metrics.domain.ramp import remember_stage, stage_progress
from services.metrics.domain.ratio import check_ratio
from services.metrics.domain.reports import Findings, report
from services.metrics.domain.situation import Advice, Situation

MAX_PUBLISHED = 500
"""Ids of verdicts that are remembered of a revision: more than it has causes, but for a bandit's."""


def judge(
    case: Case, now_ms: int, *, refusal: str = "", known: Known | None = None, watch: Watch = BLIND
) -> Judgement:
    """Return the judgement. Same case and same `now_ms`, same judgement, whatever is `known` already.

    `now_ms` gives the time stamps, and it caps the event time that a ramp stage has lasted: an event may lie
    a day ahead, and must not age a stage by a day.

    `refusal` says why the bus did not take the result: the judgement is then without one, and has an alert.
    `watch` says how far the log was read, by the same clock as `now_ms`.

    Counts, series, summaries, estimates and intervals depend on the totals alone, except those of planned
    looks, which are of the last look. Always-valid p-values are running minima. Both need the memory.
    """
    experiment, totals, memory, known = case.experiment, case.totals, case.memory, known or Known()
    ratio = check_ratio(experiment, totals, memory.ratio, now_ms, watch.grace_ms)
    compared = compare_all(experiment, totals, Before(memory.looks, ratio.memory.reweighted), known)
    smallest = smallest_p_values(compared, memory.log_p)
    corrected = family(experiment.policy, compared, smallest)
    stage = remember_stage(experiment, totals, memory.stage)
    progress = stage_progress(experiment, totals, stage, now_ms)
    leaks, over_ms = _leaks(case, ratio.memory, watch)
    advice: Advice | None
    if experiment.live:
        advice = advise(Situation(experiment, totals, compared, progress, memory, corrected, now_ms))
    else:
        advice = verify(experiment, leaks, watch, over_ms)
    seen = sightings(totals, compared, ratio, leaks, refusal if case.fresh or refusal else None)
    episodes = follow_episodes(experiment, seen, memory.alerts, memory.episodes, now_ms)
    verdict = _verdict(case, advice, now_ms)
    moved = verdict is not None and verdict.kind is VerdictKind.REALLOCATE
    published = memory.published[-MAX_PUBLISHED:] if memory.revision == experiment.revision else ()
    # The one verdict on an experiment that was rolled back is that this is in force.
    unproved = awaits_verification(experiment) and verdict is None and not published
    result = None
    if case.fresh and not refusal:
        shown = comparisons(experiment, compared, smallest, corrected, known)
        result = report(experiment, totals, Findings(shown, ratio.sample_ratio), known, now_ms)
    return Judgement(
        now_ms,
        result,
        verdict,
        episodes.news,
        JudgeMemory(
            revision=experiment.revision,
            advice=verdict.kind if verdict else memory.advice,
            published=(*published, verdict.verdict_id) if verdict else published,
            stage=stage,
            ratio=ratio.memory,
            log_p=smallest,
            looks=looks_taken(compared, memory.looks),
            reallocated_at_ms=now_ms if moved else memory.reallocated_at_ms,
            reallocations=memory.reallocations + moved,
            alerts=episodes.open,
            episodes=episodes.counts,
            leak_over_ms=over_ms,
        ),
        again_at_ms=now_ms + LOOK_AGAIN_MS if LEAK in episodes.open or unproved else None,
    )


def _leaks(case: Case, ratio: RatioMemory, watch: Watch) -> tuple[Leaks, int]:
    """Return the leaks that go on, and when the latest exposure of those that are over happened. One that
    nobody was told of is not over."""
    experiment, totals, over_ms = case.experiment, case.totals, case.memory.leak_over_ms
    found = find_leaks(experiment, totals, ratio, watch, over_ms)
    if LEAK not in case.memory.alerts or not is_over(found, watch):
        return found, over_ms
    return find_leaks(experiment, totals, ratio, watch, found.latest_ms), found.latest_ms


def _verdict(case: Case, advice: Advice | None, now_ms: int) -> Verdict | None:
    """Return the verdict to publish: one per cause, and a hold only where the advice was another."""
    experiment, memory = case.experiment, case.memory
    if advice is None or (advice.kind is VerdictKind.HOLD and memory.advice is VerdictKind.HOLD):
        return None
    cause = (experiment.experiment_id, experiment.revision, experiment.stage, advice.kind, advice.variant)
    verdict_id = derived_id(*cause, advice.occasion) if advice.occasion else derived_id(*cause)
    if memory.revision == experiment.revision and verdict_id in memory.published:
        return None
    return Verdict(
        verdict_id=verdict_id,
        experiment_id=experiment.experiment_id,
        revision=experiment.revision,
        stage=experiment.stage,
        kind=advice.kind,
        variant=advice.variant,
        occurred_at_ms=now_ms,
        reason=advice.reason,
        evidence=advice.evidence,
        weights=dict(advice.weights),
        offsets=dict(case.totals.offsets),
    )
