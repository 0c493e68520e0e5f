"""Judge one experiment: from totals and memory to a result, perhaps a verdict, perhaps alerts."""

from libs.common.ids import derived_id
from schemas.experiments import Experiment, Verdict, VerdictKind
from schemas.results import Comparison, Result, SampleRatio, Summary, VariantCount
from services.metrics.domain.advice import Advice, advise
from services.metrics.domain.alerts import follow_episodes, sightings
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.evidence import compare_all, smallest_p_values, to_comparison
from services.metrics.domain.memory import JudgeMemory
from services.metrics.domain.ramp import remember_stage, stage_progress
from services.metrics.domain.ratio import check_ratio
from services.metrics.domain.series import MAX_RESULT_BYTES, known_variants, series
from services.metrics.domain.totals import ExperimentTotals, VariantTotals


def judge(case: Case, now_ms: int, *, refusal: str = "") -> Judgement:
    """Return the judgement. Same case and same `now_ms`, same judgement.

    `now_ms` gives the time stamps, and it caps the event time that a ramp stage has lasted: an event may lie
    a day ahead, and must not age a stage by a day.

    `refusal` says why the bus did not take the result: the judgement is then without one, and has an alert.

    Counts, series, summaries, estimates and intervals depend on the totals alone. The p-values are running
    minima, so they also depend on the earlier looks that the memory holds.
    """
    experiment, totals, memory = case.experiment, case.totals, case.memory
    compared = compare_all(experiment, totals)
    smallest = smallest_p_values(compared, memory.log_p)
    ratio = check_ratio(experiment, totals, memory.ratio)
    stage = remember_stage(experiment, totals, memory.stage)
    advice = advise(experiment, compared, stage_progress(experiment, totals, stage, now_ms))
    seen = sightings(totals, compared, ratio, refusal)
    episodes = follow_episodes(experiment, seen, memory.alerts, memory.episodes, now_ms)
    verdict = _verdict(case, advice, now_ms)
    comparisons = tuple(to_comparison(each, experiment.policy.alpha, smallest) for each in compared)
    known = memory.published if memory.revision == experiment.revision else ()
    return Judgement(
        now_ms,
        None if refusal else _result(case, comparisons, ratio.sample_ratio, now_ms),
        verdict,
        episodes.news,
        JudgeMemory(
            revision=experiment.revision,
            advice=verdict.kind if verdict else memory.advice,
            published=(*known, verdict.verdict_id) if verdict else known,
            stage=stage,
            ratio=ratio.memory,
            log_p=smallest,
            alerts=episodes.open,
            episodes=episodes.counts,
        ),
    )


def _result(
    case: Case, comparisons: tuple[Comparison, ...], sample_ratio: SampleRatio | None, now_ms: int
) -> Result:
    experiment, totals = case.experiment, case.totals
    result = Result(
        experiment_id=experiment.experiment_id,
        revision=experiment.revision,
        computed_at_ms=now_ms,
        as_of_ms=totals.latest_ms,
        counts=_counts(experiment, totals),
        multi_variant_units=totals.multi_variant_units,
        summaries=_summaries(experiment, totals),
        comparisons=comparisons,
        sample_ratio=sample_ratio,
        offsets=dict(totals.offsets),
    )
    found = series(experiment, totals, MAX_RESULT_BYTES - len(result.to_json()))
    return result.model_copy(update={"hours": found.hours, "segments": found.segments})


def _verdict(case: Case, advice: Advice | None, now_ms: int) -> Verdict | None:
    """Return the verdict to publish: one per cause, and a hold only where the advice was another."""
    experiment, memory = case.experiment, case.memory
    if advice is None or (advice.kind is VerdictKind.HOLD and memory.advice is VerdictKind.HOLD):
        return None
    verdict_id = derived_id(
        experiment.experiment_id, experiment.revision, experiment.stage, advice.kind, advice.variant
    )
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
        offsets=dict(case.totals.offsets),
    )


def _counts(experiment: Experiment, totals: ExperimentTotals) -> tuple[VariantCount, ...]:
    """Every variant of the definition, then those that units met though nobody defined them."""
    keys = known_variants(experiment, totals.variants)
    found = [(key, totals.variants.get(key, VariantTotals())) for key in keys]
    return tuple(
        VariantCount(variant=key, units=each.units, exposures=each.exposures, conversions=each.conversions)
        for key, each in found
    )


def _summaries(experiment: Experiment, totals: ExperimentTotals) -> tuple[Summary, ...]:
    summaries = []
    for metric in experiment.metrics:
        for variant in experiment.variants:
            sums = totals.metric(variant.key, metric.name)
            summaries.append(
                Summary(
                    variant=variant.key,
                    metric=metric.name,
                    units=sums.units,
                    converted_units=sums.converted_units,
                    mean=sums.mean,
                    variance=sums.variance,
                )
            )
    return tuple(summaries)
