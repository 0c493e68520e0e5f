"""What a result shows hour by hour and by the breakdowns: as much as it has room for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from schemas.event import Contract
from schemas.experiments import Breakdown, Experiment
from schemas.results import MAX_HOURS, MAX_SERIES, HourCount, SegmentSummary
from services.metrics.domain.rows import SegmentKind
from services.metrics.domain.totals import ExperimentTotals, SegmentKey, VariantTotals

MAX_RESULT_BYTES = 950_000
"""Of a result as JSON, its series included. Below what the bus takes: a result that would be published
without its series must not be refused because of them."""

EntryT = TypeVar("EntryT", bound=Contract)
Segment = tuple[str, SegmentKind, str]
"""Attribute, kind and value."""


@dataclass(frozen=True, slots=True)
class Series:
    """A result's `hours` and `segments`."""

    hours: tuple[HourCount, ...]
    segments: tuple[SegmentSummary, ...]


def series(experiment: Experiment, totals: ExperimentTotals, room_bytes: int) -> Series:
    """Return the series that fit into `room_bytes` of JSON, the hours first.

    Hours: of the latest in which anything happened, ascending, every variant of the definition, then those
    that nobody defined and units met in that hour. Segments: by metric, attribute, value (those that the
    definition names, then others, then none) and variant, each in the order of the definition, also those
    without units. What is left out is left out from the end, an older hour or a later segment with all its
    variants: variants stay comparable.
    """
    latest_first = _leading(_hours(experiment, totals), room_bytes)
    hours = tuple(entry for hour in reversed(latest_first) for entry in hour)
    groups = _leading(_segments(experiment, totals), room_bytes - _bytes(hours))
    return Series(hours, tuple(entry for group in groups for entry in group))


def known_variants(experiment: Experiment, met: Iterable[str]) -> tuple[str, ...]:
    """Return the definition's variants in its order, then those among `met` that nobody defined, by name."""
    defined = [variant.key for variant in experiment.variants]
    return (*defined, *sorted(set(met) - set(defined)))


def shown_metrics(experiment: Experiment) -> tuple[str, ...]:
    """Return the metrics whose segments a result can have room for: the others need not be read."""
    per_metric = sum(1 for _ in _in_order(experiment.breakdowns)) * len(experiment.variants)
    if not per_metric:
        return ()
    count = -(-MAX_SERIES // per_metric)
    return tuple(metric.name for metric in experiment.metrics[:count])


def _hours(experiment: Experiment, totals: ExperimentTotals) -> Iterator[Sequence[HourCount]]:
    """Yield the entries of each hour, the latest hour first."""
    busy = [hour_ms for hour_ms, found in totals.hours.items() if any(map(_happened, found.values()))]
    for hour_ms in sorted(busy, reverse=True)[:MAX_HOURS]:
        yield _hour(experiment, hour_ms, totals.hours[hour_ms])


def _hour(experiment: Experiment, hour_ms: int, found: Mapping[str, VariantTotals]) -> Sequence[HourCount]:
    met = [key for key, each in found.items() if _happened(each)]
    entries = []
    for key in known_variants(experiment, met)[:MAX_SERIES]:
        each = found.get(key, VariantTotals())
        entries.append(
            HourCount(
                variant=key,
                hour_ms=hour_ms,
                units=each.units,
                exposures=each.exposures,
                conversions=each.conversions,
            )
        )
    return entries


def _happened(totals: VariantTotals) -> bool:
    """A unit that turns out to be in two variants leaves its hours behind, with zeros: as if never there."""
    return totals != VariantTotals()


def _segments(experiment: Experiment, totals: ExperimentTotals) -> Iterator[Sequence[SegmentSummary]]:
    """Yield the entries of all variants for each metric and segment."""
    for metric in experiment.metrics:
        for segment in _in_order(experiment.breakdowns):
            yield [
                _summary(SegmentKey(*segment, variant.key, metric.name), totals)
                for variant in experiment.variants
            ]


def _in_order(breakdowns: Iterable[Breakdown]) -> Iterator[Segment]:
    for breakdown in breakdowns:
        for value in breakdown.values:
            yield breakdown.attribute, SegmentKind.VALUE, value
        yield breakdown.attribute, SegmentKind.OTHER, ""
        yield breakdown.attribute, SegmentKind.MISSING, ""


def _summary(key: SegmentKey, totals: ExperimentTotals) -> SegmentSummary:
    sums = totals.segment(key)
    return SegmentSummary(
        attribute=key.attribute,
        value=key.value if key.kind is SegmentKind.VALUE else None,
        missing=key.kind is SegmentKind.MISSING,
        variant=key.variant,
        metric=key.metric,
        units=sums.units,
        converted_units=sums.converted_units,
        mean=sums.mean,
        variance=sums.variance,
    )


def _leading(groups: Iterable[Sequence[EntryT]], room_bytes: int) -> list[Sequence[EntryT]]:
    """Return the first groups, whole ones, that keep within `MAX_SERIES` entries and the room."""
    kept: list[Sequence[EntryT]] = []
    count = 0
    for group in groups:
        count += len(group)
        room_bytes -= _bytes(group)
        if count > MAX_SERIES or room_bytes < 0:
            break
        kept.append(group)
    return kept


def _bytes(entries: Sequence[Contract]) -> int:
    """Return what the entries take in a JSON list, their commas included."""
    return sum(len(entry.to_json()) + 1 for entry in entries)
