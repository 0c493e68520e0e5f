"""Logs of one partition to test with, what ingest publishes of them, and what the audit finds in them.

Two experiments, of which one has ended, measure the same clients. Event ids are few, so that they come again:
with the same content, with other content, and in the other experiment. Time stamps lie on both sides of the
event times, up to the limits and beyond, and records that are no events lie between.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache

from hypothesis import strategies as st

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.partitions.ports import Rejected
from schemas.decode import Malformed, decode
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind
from schemas.facts import Conversion, Exposure
from schemas.names import MAX_AHEAD_MS, MAX_BEHIND_MS
from services.metrics.audit.events import LeftOut, did, met
from services.metrics.audit.numbers import (
    LATEST_MS,
    MULTI_VARIANT_UNITS,
    Place,
    Segment,
    of_bin,
    of_hour,
    of_last_exposed,
    of_metric,
    of_variant,
)
from services.metrics.audit.recompute import HOUR_MS, Recount, recompute
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.partition import MetricsPartition
from services.metrics.domain.rows import ExperimentRow, MetricRow
from tests.unit.metrics.events import T0, Event, experiment, record, topic_of

KEYS = ("x", "y")
MIDDLE_MS = T0 + 5 * HOUR_MS
METRICS = (
    Metric(name="bought", conversion="purchase", window_ms=HOUR_MS, covariate_window_ms=2 * HOUR_MS),
    Metric(
        name="revenue",
        conversion="purchase",
        kind=MetricKind.MEAN,
        window_ms=2 * HOUR_MS,
        lower_bound=-2.0,
        upper_bound=5.5,
        covariate_window_ms=HOUR_MS,
    ),
    Metric(name="visits", conversion="visit", kind=MetricKind.MEAN, window_ms=HOUR_MS),
    Metric(
        name="orders",
        conversion="purchase",
        kind=MetricKind.COUNT,
        window_ms=HOUR_MS,
        covariate_window_ms=HOUR_MS,
    ),
    Metric(
        name="basket", conversion="purchase", kind=MetricKind.RATIO, denominator="visit", window_ms=HOUR_MS
    ),
    Metric(name="typical", conversion="purchase", kind=MetricKind.QUANTILE, quantile=0.5, window_ms=HOUR_MS),
)
BREAKDOWNS = (
    Breakdown(attribute="country", values=("de", "fr")),
    Breakdown(attribute="tier", values=("true", "2", "1.5")),
)
NAMES = ["u1", "u2", "ü3"]
UNITS = st.sampled_from(NAMES)
TIMES = st.integers(-10, 10).map(lambda step: MIDDLE_MS + step * HOUR_MS // 4)
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "country": st.sampled_from(["de", "fr", "it", "a-million-others"]),
        "tier": st.sampled_from([True, False, 2, 1.5, 2.0, "2"]).map(
            lambda value: float(value) if type(value) is int else value
        ),
    },
)
IDS = st.integers(0, 9).map(lambda number: f"e{number}")
EXPOSURES = st.builds(
    Exposure,
    event_id=IDS,
    occurred_at_ms=TIMES,
    unit_id=UNITS,
    experiment_id=st.sampled_from("xxy"),
    variant=st.sampled_from("aaaab"),
    attributes=ATTRIBUTES,
)
CONVERSIONS = st.builds(
    Conversion,
    event_id=IDS,
    occurred_at_ms=TIMES,
    unit_id=UNITS,
    name=st.sampled_from(["purchase", "purchase", "visit", "other"]),
    value=st.sampled_from([1.0, 0.1, -3.5, 0.0, 1e12, 0.0000005, 1 / 3, 4.25]),
)
EDGES_MS = [-MAX_AHEAD_MS - 1, -MAX_AHEAD_MS, -1, 0, 1, MAX_BEHIND_MS, MAX_BEHIND_MS + 1]
USUAL_MS = st.integers(-6, 6).map(lambda step: step * HOUR_MS // 4)
GAPS_MS = st.one_of(USUAL_MS, USUAL_MS, USUAL_MS, USUAL_MS, st.sampled_from(EDGES_MS))
"""How long after its event a record is written."""


def written(event: Event, gap_ms: int) -> Record:
    """Return an event as it stands in the log."""
    found = record(topic_of(event), event.to_json(), timestamp_ms=event.occurred_at_ms + gap_ms)
    return found._replace(key=event.unit_id.encode())


def _poison(topic: str, unit: str, at_ms: int, value: bytes | None) -> Record:
    return Record(topic, 0, 0, at_ms, unit.encode(), value)


POISON = st.builds(
    _poison,
    st.sampled_from(["exposures", "conversions"]),
    UNITS,
    TIMES,
    st.sampled_from([b"{", None, b"[]", b'{"type":"exposure","unit_id":"u1"}']),
)
EXPOSED, CONVERTED = st.builds(written, EXPOSURES, GAPS_MS), st.builds(written, CONVERSIONS, GAPS_MS)
LOGS = st.lists(st.one_of(EXPOSED, EXPOSED, EXPOSED, CONVERTED, CONVERTED, POISON), max_size=30).map(
    lambda records: numbered(records)
)


def numbered(records: Sequence[Record]) -> list[Record]:
    """Return the records with the offsets of their places."""
    return [each._replace(offset=place) for place, each in enumerate(records)]


@cache
def spec(key: str) -> Experiment:
    """Return an experiment with all kinds of metrics and two breakdowns. That which is not the first has
    ended, in the middle of the times at which things happen."""
    ended = {} if key == KEYS[0] else {"state": ExperimentState.ROLLED_BACK, "ended_at_ms": MIDDLE_MS}
    return experiment(key, metrics=METRICS).model_copy(update={"breakdowns": BREAKDOWNS, **ended})


def known() -> Definitions:
    """Return definitions that hold both experiments."""
    definitions = Definitions()
    for key in KEYS:
        definitions.keep(spec(key))
    return definitions


def fold(state: MetricsPartition, records: Sequence[Record], batch: int = 1) -> list[Rejected]:
    """Fold records in runs of the same topic, of at most `batch`."""
    rejected: list[Rejected] = []
    run: list[Record] = []
    for each in records:
        if run and (len(run) >= batch or each.topic != run[0].topic):
            rejected += state.fold(run[0].topic, Batch.of(run))
            run = []
        run.append(each)
    if run:
        rejected += state.fold(run[0].topic, Batch.of(run))
    return rejected


def poison_in(log: Iterable[Record]) -> list[int]:
    """Return the offsets of the records that the plain decoder refuses at their own time."""
    found = []
    for each in log:
        try:
            decode(each.topic, each.value, each.timestamp_ms)
        except Malformed:
            found.append(each.offset)
    return found


def published(rows: Iterable[ExperimentRow], numbers: Recount) -> Recount:
    """Write the numbers of rows over those known, as the database does; before each the experiment's id."""
    for row in rows:
        for place, number in _numbers_of(row).items():
            numbers[row.experiment_id, *place] = number
        for metric in row.metrics:
            _rewrite_sketch(metric, numbers)
    return numbers


def _numbers_of(row: ExperimentRow) -> dict[Place, int]:
    numbers = {LATEST_MS: row.latest_ms, MULTI_VARIANT_UNITS: row.multi_variant_units}
    for each in row.variants:
        for name in ("units", "exposures", "conversions", "late_units"):
            numbers[of_variant(each.variant, name)] = getattr(each, name)
        numbers[of_last_exposed(each.variant)] = each.last_exposed_ms
    for hour in row.hours:
        for name in ("units", "exposures", "conversions"):
            numbers[of_hour(hour.hour_ms, hour.variant, name)] = getattr(hour, name)
    for metric in row.metrics:
        for name in ("units", "converted_units", "total", "total_squares"):
            numbers[of_metric(metric.metric, metric.variant, name)] = getattr(metric.sums, name)
        for name in ("covariate_total", "covariate_squares"):
            numbers[of_metric(metric.metric, metric.variant, name)] = getattr(metric.sums, name)
        numbers[of_metric(metric.metric, metric.variant, "cross_total")] = metric.sums.cross
    for cell in row.segments:
        place = Segment(cell.attribute, cell.kind, cell.value)
        for name in ("units", "converted_units", "total", "total_squares"):
            numbers[place.of_metric(cell.metric, cell.variant, name)] = getattr(cell.sums, name)
    return numbers


def _rewrite_sketch(metric: MetricRow, numbers: Recount) -> None:
    """Write a row's sketch over that which is known: bins that it does not name hold nobody any more."""
    place = (metric.experiment_id, *of_bin(metric.metric, metric.variant, 0)[:-1])
    for known_bin in [each for each in numbers if each[:-1] == place]:
        del numbers[known_bin]
    for key, units in metric.sketch.items():
        numbers[*place, str(key)] = units


def merged(one: Recount, two: Recount) -> Recount:
    """Return the sums of both, and the later of the latest times and of the last exposures."""
    both = Counter({place: one[place] + two[place] for place in one.keys() | two.keys()})
    for place in both:
        if place[1:] in (LATEST_MS, of_last_exposed(place[-1])):
            both[place] = max(one[place], two[place])
    return both


def recount(log: Sequence[Record]) -> Recount:
    """Return what the audit finds in a log, of both experiments, without zeros."""
    found: Recount = Counter()
    for key in KEYS:
        exposures, conversions = [], []
        for each in log:
            with suppress(LeftOut):
                if each.topic == "exposures":
                    exposures.append(met(each, spec(key)))
                else:
                    conversions.append(did(each))
        numbers = recompute(spec(key), filter(None, exposures), filter(None, conversions))
        found.update({(key, *place): number for place, number in numbers.items()})
    return nonzero(found)


def nonzero(numbers: Recount) -> Recount:
    """Return the numbers that are not 0."""
    return Counter({place: number for place, number in numbers.items() if number})
