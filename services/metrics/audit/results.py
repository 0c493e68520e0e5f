"""The latest result against the log up to that result's own offsets."""

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from libs.common.bus.ports import TopicPartition
from schemas.experiments import Experiment
from schemas.results import Result
from services.metrics.audit.log import Offsets
from services.metrics.audit.numbers import (
    LATEST_MS,
    MULTI_VARIANT_UNITS,
    VARIANT,
    Number,
    Numbers,
    Place,
    of_metric,
    of_variant,
)
from services.metrics.audit.recompute import MICRO, Recount


def offsets_of(result: Result) -> Offsets:
    """Return what a result covers, by partition."""
    found = {}
    for name, offset in result.offsets.items():
        topic, _, partition = name.rpartition("-")
        found[TopicPartition(topic, int(partition))] = offset
    return found


def numbers_of(result: Result) -> Numbers:
    """Return the counts of a result and its summaries; hours, segments and comparisons are left out."""
    numbers: dict[Place, Number] = {
        MULTI_VARIANT_UNITS: result.multi_variant_units,
        LATEST_MS: result.as_of_ms,
    }
    for count in result.counts:
        numbers[of_variant(count.variant, "units")] = count.units
        numbers[of_variant(count.variant, "exposures")] = count.exposures
        numbers[of_variant(count.variant, "conversions")] = count.conversions
    for each in result.summaries:
        numbers[of_metric(each.metric, each.variant, "units")] = each.units
        numbers[of_metric(each.metric, each.variant, "converted_units")] = each.converted_units
        numbers[of_metric(each.metric, each.variant, "mean")] = each.mean
        numbers[of_metric(each.metric, each.variant, "variance")] = each.variance
    return numbers


def summarised(experiment: Experiment, partitions: Iterable[Recount]) -> Numbers:
    """Return what a result must say, from the recounts of all partitions."""
    sums: Recount = Counter()
    latest_ms = 0
    for recount in partitions:
        latest_ms = max(latest_ms, recount[LATEST_MS])
        for place, number in recount.items():
            sums[place] += number
    numbers: dict[Place, Number] = {
        MULTI_VARIANT_UNITS: sums[MULTI_VARIANT_UNITS],
        LATEST_MS: latest_ms,
        **{place: number for place, number in sums.items() if place[0] == VARIANT},
    }
    for metric in experiment.metrics:
        for variant in experiment.variants:
            numbers |= _summary(sums, metric.name, variant.key)
    return numbers


def _summary(sums: Recount, metric: str, variant: str) -> dict[Place, Number]:
    units = sums[of_metric(metric, variant, "units")]
    total = Fraction(sums[of_metric(metric, variant, "total")], MICRO)
    squares = Fraction(sums[of_metric(metric, variant, "total_squares")], MICRO * MICRO)
    return {
        of_metric(metric, variant, "units"): units,
        of_metric(metric, variant, "converted_units"): sums[of_metric(metric, variant, "converted_units")],
        of_metric(metric, variant, "mean"): float(total / units) if units else None,
        of_metric(metric, variant, "variance"): (
            float((squares - total * total / units) / (units - 1)) if units > 1 else None
        ),
    }
