"""An experiment's result: what it says, whatever comes of it."""

from dataclasses import dataclass

from schemas.experiments import Experiment
from schemas.results import Comparison, Result, SampleRatio, VariantCount
from services.metrics.domain.effects import effects
from services.metrics.domain.known import Known
from services.metrics.domain.published import summaries
from services.metrics.domain.series import MAX_RESULT_BYTES, known_variants, series
from services.metrics.domain.totals import ExperimentTotals, VariantTotals


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found beyond the totals."""

    comparisons: tuple[Comparison, ...]
    sample_ratio: SampleRatio | None


def report(
    experiment: Experiment, totals: ExperimentTotals, findings: Findings, known: Known, now_ms: int
) -> Result:
    """Return the result, its series as far as the bus has room for them."""
    factorial = effects(experiment, totals, known)
    result = Result(
        experiment_id=experiment.experiment_id,
        revision=experiment.revision,
        computed_at_ms=now_ms,
        as_of_ms=totals.latest_ms,
        counts=_counts(experiment, totals),
        multi_variant_units=totals.multi_variant_units,
        summaries=summaries(experiment, totals, known),
        comparisons=findings.comparisons,
        effects=tuple(factorial.found),
        missing_effects=tuple(factorial.missing),
        sample_ratio=findings.sample_ratio,
        offsets=dict(totals.offsets),
    )
    if not totals.hours and not experiment.breakdowns:
        return result
    found = series(experiment, totals, MAX_RESULT_BYTES - len(result.to_json()))
    return result.model_copy(update={"hours": found.hours, "segments": found.segments})


def _counts(experiment: Experiment, totals: ExperimentTotals) -> tuple[VariantCount, ...]:
    """Every variant of the definition, then those that units met though nobody defined them."""
    keys = known_variants(experiment, totals.variants)
    found = [(key, totals.variants.get(key, VariantTotals())) for key in keys]
    return tuple(
        VariantCount(variant=key, units=each.units, exposures=each.exposures, conversions=each.conversions)
        for key, each in found
    )
