"""What one partition must have published of one experiment, computed the slow and simple way: every unit by
itself from the list of its events; nothing is updated, moved or taken back.

The rules, which ingest keeps too:

* The same event id of the same unit is the same event; the one earliest in the log is believed.
* A unit's first exposure is the one with the smallest event time; of several at that time, the smallest
  xxh3 of the event id, then the smallest event id.
* A unit seen in two variants is counted in `multi_variant_units` and left out of both samples; its
  exposures stay where they were. The first `MAX_EXPOSURES` distinct ones of a unit to a variant count.
* The latest exposure to a variant is that of the latest event time, of none later than its record.
* Of a unit's conversions the `MAX_CONVERSIONS` earliest by event time, then xxh3 of the id, are kept. One
  counts for a metric when it has its name and happened from the first exposure to `window_ms` later.
* Values are whole numbers of millionths, rounded half to even.
* A ratio's x is the sum of the conversions with the denominator's name, in the same window as y.
* A quantile's value, of a unit that converted, falls into the bin that `bins.py` says.
* Once an experiment has ended, a unit is late for a variant when its earliest exposure to it happened more
  than the grace after the end, whether or not it is in two variants.

`latest_ms` is a watermark, and what is published lies between two times, both included: that of the latest
exposure that counts, and that of the latest event of any unit that was exposed. Which of a unit's conversions
ingest still notes depends on when it forgot the experiment (some time after its end), and for a unit with
more than `MAX_CONVERSIONS` on the order in which they came.

Not here, as they depend on what else a partition holds: ingest's limits on units and experiments, what it
forgets of units that are exposed later than the declared lateness, and of experiments that ended long ago.
Where these were reached, it differs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from xxhash import xxh3_64_intdigest

from schemas.experiments import Breakdown, Experiment, Metric, MetricKind
from services.metrics.audit.bins import bin_of
from services.metrics.audit.events import Attribute, Did, Met
from services.metrics.audit.numbers import (
    LATEST_MS,
    MULTI_VARIANT_UNITS,
    Between,
    Expectations,
    Place,
    Segment,
    of_bin,
    of_hour,
    of_last_exposed,
    of_metric,
    of_variant,
)

MICRO = 1_000_000
HOUR_MS = 60 * 60 * 1_000
LATENESS_MS = 48 * HOUR_MS
MAX_EXPOSURES = 64
MAX_CONVERSIONS = 10_000
MAX_VARIANTS = 64

GRACE_MS = 5_000
"""How long after the end clients may take to follow, unless METRICS_LEAK_GRACE_MS says otherwise."""

Recount: TypeAlias = Counter[Place]


class Recounted(NamedTuple):
    """One partition, recounted."""

    numbers: Recount
    """Its LATEST_MS is the upper bound: the time of the latest event of any unit that was exposed."""
    exposed_ms: int
    """The lower bound: the time of the latest exposure that counts; 0 when there is none."""

    @property
    def expected(self) -> Expectations:
        """Return what must be published."""
        if not self.exposed_ms:
            return self.numbers
        return {**self.numbers, LATEST_MS: Between(self.exposed_ms, self.numbers[LATEST_MS])}


def recompute(experiment: Experiment, exposures: Iterable[Met], conversions: Iterable[Did]) -> Recount:
    """Return the numbers of `recount`, with the grace that is the default."""
    return recount(experiment, exposures, conversions, GRACE_MS).numbers


def recount(
    experiment: Experiment, exposures: Iterable[Met], conversions: Iterable[Did], grace_ms: int
) -> Recounted:
    """Return all numbers of one partition: those of its variants, metrics, hours and segments.

    `exposures` are the experiment's, `conversions` those of any units; both in any order.
    """
    numbers: Recount = Counter()
    exposed_ms = 0
    done = _conversions_by_unit(conversions)
    for unit, met in _exposures_by_unit(experiment, exposures).items():
        did = done.get(unit, ())
        exposed_ms = max(exposed_ms, *(each.at_ms for each in met))
        numbers[LATEST_MS] = max(numbers[LATEST_MS], exposed_ms, *(each.at_ms for each in did))
        _count_exposures(numbers, met)
        _count_late(numbers, experiment, met, grace_ms)
        if len({each.variant for each in met}) == 1:
            _count_unit(numbers, experiment, _first(met), _earliest(did))
        else:
            numbers[MULTI_VARIANT_UNITS] += 1
    return Recounted(numbers, exposed_ms)


def micro(value: float) -> int:
    """Return the whole number of millionths nearest to the exact value, ties to even."""
    return round(Fraction(value) * MICRO)


def text_of(value: Attribute) -> str:
    """Return the text by which a definition names this value: JSON's, a whole number without a point."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return str(int(value)) if Fraction(value).denominator == 1 else repr(value)


def _exposures_by_unit(experiment: Experiment, exposures: Iterable[Met]) -> dict[str, Sequence[Met]]:
    """Return the distinct exposures of each unit, in the order of the log."""
    closes_ms = _closes_ms(experiment)
    variants: set[str] = set()
    units: dict[str, dict[str, Met]] = {}
    for each in sorted(exposures, key=lambda met: met.offset):
        if closes_ms is not None and each.at_ms > closes_ms:
            continue
        if each.event_id in units.get(each.unit_id, {}):
            continue
        if each.variant not in variants and len(variants) == MAX_VARIANTS:
            continue
        variants.add(each.variant)
        units.setdefault(each.unit_id, {})[each.event_id] = each
    return {unit: list(met.values()) for unit, met in units.items()}


def _closes_ms(experiment: Experiment) -> int | None:
    """Return the event time after which exposures count no more: end, longest window, lateness."""
    if experiment.live or experiment.ended_at_ms is None:
        return None
    longest_ms = max((each.window_ms for each in experiment.metrics), default=0)
    return experiment.ended_at_ms + longest_ms + LATENESS_MS


def _conversions_by_unit(conversions: Iterable[Did]) -> dict[str, Sequence[Did]]:
    units: dict[str, dict[str, Did]] = {}
    for each in sorted(conversions, key=lambda did: did.offset):
        units.setdefault(each.unit_id, {}).setdefault(each.event_id, each)
    return {unit: list(done.values()) for unit, done in units.items()}


def _first(met: Sequence[Met]) -> Met:
    return min(met, key=_order)


def _earliest(done: Sequence[Did]) -> Sequence[Did]:
    return done if len(done) <= MAX_CONVERSIONS else sorted(done, key=_order)[:MAX_CONVERSIONS]


def _order(each: Met | Did) -> tuple[int, int, str]:
    return each.at_ms, xxh3_64_intdigest(each.event_id.encode()), each.event_id


def _count_exposures(numbers: Recount, met: Sequence[Met]) -> None:
    counted: Counter[str] = Counter()
    for each in met:
        last = of_last_exposed(each.variant)
        numbers[last] = max(numbers[last], each.seen_ms)
        counted[each.variant] += 1
        if counted[each.variant] > MAX_EXPOSURES:
            continue
        numbers[of_variant(each.variant, "exposures")] += 1
        numbers[of_hour(_hour_ms(each.at_ms), each.variant, "exposures")] += 1


def _count_late(numbers: Recount, experiment: Experiment, met: Sequence[Met], grace_ms: int) -> None:
    if experiment.live or experiment.ended_at_ms is None:
        return
    for variant in {each.variant for each in met}:
        first_ms = min(each.at_ms for each in met if each.variant == variant)
        numbers[of_variant(variant, "late_units")] += first_ms > experiment.ended_at_ms + grace_ms


def _count_unit(numbers: Recount, experiment: Experiment, first: Met, done: Sequence[Did]) -> None:
    variant = first.variant
    numbers[of_variant(variant, "units")] += 1
    numbers[of_hour(_hour_ms(first.at_ms), variant, "units")] += 1
    for each in done:
        if any(_matters(each, metric, first) for metric in experiment.metrics):
            numbers[of_variant(variant, "conversions")] += 1
            numbers[of_hour(_hour_ms(each.at_ms), variant, "conversions")] += 1
    segments = [_segment(breakdown, first) for breakdown in experiment.breakdowns]
    for metric in experiment.metrics:
        sums = _sums(metric, first, done)
        for number, amount in sums.items():
            numbers[of_metric(metric.name, variant, number)] += amount
        if metric.kind is MetricKind.QUANTILE and sums["converted_units"]:
            numbers[of_bin(metric.name, variant, bin_of(sums["total"]))] += 1
        for segment in segments:
            for number in ("units", "converted_units", "total", "total_squares"):
                numbers[segment.of_metric(metric.name, variant, number)] += sums[number]


def _sums(metric: Metric, first: Met, done: Sequence[Did]) -> dict[str, int]:
    """Return what one unit adds to a metric's sums."""
    after = [each.value for each in done if _counts(each, metric, first)]
    of_x = _divides if metric.kind is MetricKind.RATIO else _precedes
    beside = [each.value for each in done if of_x(each, metric, first)]
    y, x = _value(metric, after), _value(metric, beside)
    return {
        "units": 1,
        "converted_units": int(bool(after)),
        "total": y,
        "total_squares": y * y,
        "covariate_total": x,
        "covariate_squares": x * x,
        "cross_total": x * y,
    }


def _matters(done: Did, metric: Metric, first: Met) -> bool:
    return _counts(done, metric, first) or _divides(done, metric, first)


def _counts(done: Did, metric: Metric, first: Met) -> bool:
    return done.name == metric.conversion and _is_within(done, metric, first)


def _divides(done: Did, metric: Metric, first: Met) -> bool:
    return (
        metric.kind is MetricKind.RATIO
        and done.name == metric.denominator
        and _is_within(done, metric, first)
    )


def _is_within(done: Did, metric: Metric, first: Met) -> bool:
    return 0 <= done.at_ms - first.at_ms <= metric.window_ms


def _precedes(done: Did, metric: Metric, first: Met) -> bool:
    return done.name == metric.conversion and -metric.covariate_window_ms <= done.at_ms - first.at_ms < 0


def _value(metric: Metric, values: Sequence[float]) -> int:
    """Return a unit's value in millionths; 0, whatever the bounds, for one without conversions."""
    if not values:
        return 0
    if metric.kind is MetricKind.PROPORTION:
        return MICRO
    if metric.kind is MetricKind.COUNT:
        return len(values) * MICRO
    total = sum(map(micro, values))
    if metric.lower_bound is not None:
        total = max(total, micro(metric.lower_bound))
    if metric.upper_bound is not None:
        total = min(total, micro(metric.upper_bound))
    return total


def _segment(breakdown: Breakdown, first: Met) -> Segment:
    if breakdown.attribute not in first.attributes:
        return Segment(breakdown.attribute, "missing", "")
    text = text_of(first.attributes[breakdown.attribute])
    if text in breakdown.values:
        return Segment(breakdown.attribute, "value", text)
    return Segment(breakdown.attribute, "other", "")


def _hour_ms(at_ms: int) -> int:
    return at_ms - at_ms % HOUR_MS
