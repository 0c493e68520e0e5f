"""The latest result against the log up to that result's own offsets: counts, summaries, hours and segments.

Comparisons, effects and the sample ratio are no counts but statistics of these sums, and of what the judge
remembers: they are held to other programs (`docs/reference/oracles.md`) and to simulations, not to the log.
"""

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from libs.common.bus.ports import TopicPartition
from schemas.experiments import Experiment
from schemas.results import Result, SegmentSummary, Summary
from services.metrics.audit.numbers import (
    HOUR,
    LATEST_MS,
    MULTI_VARIANT_UNITS,
    VARIANT,
    Between,
    Expectations,
    Expected,
    Number,
    Numbers,
    Place,
    Segment,
    of_hour,
    of_metric,
    of_variant,
)
from services.metrics.audit.reading import Offsets
from services.metrics.audit.recompute import MICRO, Recount, Recounted

COUNTS = ("units", "exposures", "conversions")


def offsets_of(result: Result) -> Offsets:
    """Return what a result covers, by partition."""
    found = {}
    for name, offset in result.offsets.items():
        topic, _, partition = name.rpartition("-")
        found[TopicPartition(topic, int(partition))] = offset
    return found


def numbers_of(result: Result) -> Numbers:
    """Return the counts of a result and its summaries, hours and segments."""
    numbers: dict[Place, Number] = {
        MULTI_VARIANT_UNITS: result.multi_variant_units,
        LATEST_MS: result.as_of_ms,
    }
    for count in result.counts:
        for name in COUNTS:
            numbers[of_variant(count.variant, name)] = getattr(count, name)
    for hour in result.hours:
        for name in COUNTS:
            numbers[of_hour(hour.hour_ms, hour.variant, name)] = getattr(hour, name)
    for each in result.summaries:
        numbers |= _shown(each, of_metric(each.metric, each.variant))
    for segment in result.segments:
        numbers |= _shown(segment, _place(segment))
    return numbers


def summarised(experiment: Experiment, result: Result, partitions: Iterable[Recounted]) -> Expectations:
    """Return what this result must say, from the recounts of all partitions: of the hours those from its
    first on, of the segments those that it shows, as it has not always room for all."""
    sums: Recount = Counter()
    earliest_ms = latest_ms = 0
    for recounted in partitions:
        earliest_ms = max(earliest_ms, recounted.exposed_ms)
        latest_ms = max(latest_ms, recounted.numbers[LATEST_MS])
        sums.update(recounted.numbers)
    first_hour_ms = min((hour.hour_ms for hour in result.hours), default=None)
    expected: dict[Place, Expected] = {
        place: number for place, number in sums.items() if _is_shown(place, first_hour_ms)
    }
    expected[MULTI_VARIANT_UNITS] = sums[MULTI_VARIANT_UNITS]
    expected[LATEST_MS] = Between(earliest_ms, latest_ms)
    for metric in experiment.metrics:
        for variant in experiment.variants:
            expected |= _summary(sums, of_metric(metric.name, variant.key))
    for each in result.segments:
        expected |= _summary(sums, _place(each))
    return expected


def _is_shown(place: Place, first_hour_ms: int | None) -> bool:
    if place[0] == HOUR:
        return first_hour_ms is not None and int(place[1]) >= first_hour_ms
    return place[0] == VARIANT and place[-1] in COUNTS


def _place(shown: SegmentSummary) -> Place:
    kind = "value" if shown.value is not None else "missing" if shown.missing else "other"
    return Segment(shown.attribute, kind, shown.value or "").of_metric(shown.metric, shown.variant)


def _shown(summary: Summary | SegmentSummary, place: Place) -> dict[Place, Number]:
    return {
        (*place, name): getattr(summary, name) for name in ("units", "converted_units", "mean", "variance")
    }


def _summary(sums: Recount, place: Place) -> dict[Place, Number]:
    """Return what a summary of the sums at a place must say."""
    units = sums[*place, "units"]
    total = Fraction(sums[*place, "total"], MICRO)
    squares = Fraction(sums[*place, "total_squares"], MICRO * MICRO)
    return {
        (*place, "units"): units,
        (*place, "converted_units"): sums[*place, "converted_units"],
        (*place, "mean"): float(total / units) if units else None,
        (*place, "variance"): (float((squares - total * total / units) / (units - 1)) if units > 1 else None),
    }
