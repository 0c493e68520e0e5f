"""Everything that a partition publishes, held to the audit's recount: all kinds of metrics, winsorising,
covariates, sketches, hours and segments, in any order, with crashes in between."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.batches import Batch
from schemas.experiments import Breakdown, Experiment, Metric, MetricKind
from schemas.facts import Conversion, Exposure
from services.metrics.audit.events import Did, Met
from services.metrics.audit.numbers import (
    LATEST_MS,
    MULTI_VARIANT_UNITS,
    Segment,
    of_bin,
    of_hour,
    of_last_exposed,
    of_metric,
    of_variant,
)
from services.metrics.audit.recompute import HOUR_MS, Recount, recompute
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.partition import MetricsPartition, MetricsPartitions
from services.metrics.domain.rows import ExperimentRow, MetricRow
from tests.unit.metrics.events import T0, Event, experiment, fold, record, topic_of

SPEC: Experiment = experiment(
    metrics=(
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
            name="basket",
            conversion="purchase",
            kind=MetricKind.RATIO,
            denominator="visit",
            window_ms=HOUR_MS,
        ),
        Metric(
            name="typical", conversion="purchase", kind=MetricKind.QUANTILE, quantile=0.5, window_ms=HOUR_MS
        ),
    )
).model_copy(
    update={
        "breakdowns": (
            Breakdown(attribute="country", values=("de", "fr")),
            Breakdown(attribute="tier", values=("true", "2", "1.5")),
        )
    }
)
UNITS = st.sampled_from(["u1", "u2", "ü3"])
TIMES = st.integers(0, 20).map(lambda step: T0 + 5 * HOUR_MS + (step - 10) * HOUR_MS // 4)
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "country": st.sampled_from(["de", "fr", "it", "a-million-others"]),
        "tier": st.sampled_from([True, False, 2, 1.5, 2.0, "2"]).map(
            lambda value: float(value) if type(value) is int else value
        ),
    },
)
IDS = st.integers(0, 40).map(lambda number: f"e{number}")
EXPOSURES = st.builds(
    Exposure,
    event_id=IDS,
    occurred_at_ms=TIMES,
    unit_id=UNITS,
    experiment_id=st.just("x"),
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


def distinct(events: Iterable[Event]) -> list[Event]:
    """Return the events without those whose id the same unit used before."""
    return list({(type(each), each.unit_id, each.event_id): each for each in events}.values())


EVENTS = st.lists(EXPOSURES | CONVERSIONS, max_size=30).map(distinct)


def published(rows: Iterable[ExperimentRow], numbers: Recount) -> Recount:
    """Write the numbers of rows over those known, as the database does."""
    for row in rows:
        numbers[LATEST_MS], numbers[MULTI_VARIANT_UNITS] = row.latest_ms, row.multi_variant_units
        for each in row.variants:
            for name in ("units", "exposures", "conversions"):
                numbers[of_variant(each.variant, name)] = getattr(each, name)
            numbers[of_last_exposed(each.variant)] = each.last_exposed_ms
        for hour in row.hours:
            for name in ("units", "exposures", "conversions"):
                numbers[of_hour(hour.hour_ms, hour.variant, name)] = getattr(hour, name)
        for metric in row.metrics:
            for name in ("units", "converted_units", "total", "total_squares"):
                numbers[of_metric(metric.metric, metric.variant, name)] = getattr(metric.sums, name)
            numbers[of_metric(metric.metric, metric.variant, "covariate_total")] = metric.sums.covariate_total
            numbers[of_metric(metric.metric, metric.variant, "covariate_squares")] = (
                metric.sums.covariate_squares
            )
            numbers[of_metric(metric.metric, metric.variant, "cross_total")] = metric.sums.cross
            rewrite_sketch(metric, numbers)
        for cell in row.segments:
            place = Segment(cell.attribute, cell.kind, cell.value)
            for name in ("units", "converted_units", "total", "total_squares"):
                numbers[place.of_metric(cell.metric, cell.variant, name)] = getattr(cell.sums, name)
    return numbers


def rewrite_sketch(metric: MetricRow, numbers: Recount) -> None:
    """Write a row's sketch over that which is known: bins that it does not name hold nobody any more."""
    place = of_bin(metric.metric, metric.variant, 0)[:-1]
    for known_bin in [each for each in numbers if each[:-1] == place]:
        del numbers[known_bin]
    for key, units in metric.sketch.items():
        numbers[of_bin(metric.metric, metric.variant, key)] = units


def recount(events: Sequence[Event]) -> dict[object, int]:
    """Return what the audit finds, without zeros."""
    met = [
        Met(
            n,
            e.event_id,
            e.occurred_at_ms,
            e.unit_id,
            e.variant,
            e.attributes,
            min(e.occurred_at_ms, T0),
        )
        for n, e in enumerate(events)
        if isinstance(e, Exposure)
    ]
    done = [
        Did(n, e.event_id, e.occurred_at_ms, e.unit_id, e.name, e.value)
        for n, e in enumerate(events)
        if isinstance(e, Conversion)
    ]
    return nonzero(recompute(SPEC, met, done))


def nonzero(numbers: Recount) -> dict[object, int]:
    """Return the numbers that are not 0."""
    return {place: number for place, number in numbers.items() if number}


def known() -> Definitions:
    """Return definitions that hold the experiment."""
    definitions = Definitions()
    definitions.keep(SPEC)
    return definitions


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_every_number_equals_the_recount(events: list[Event], chance: random.Random) -> None:
    """Shuffled and repeated, published again and again: what stands at the end is the recount."""
    shuffled = [*events, *chance.choices(events, k=len(events) // 2)] if events else []
    chance.shuffle(shuffled)
    state = MetricsPartitions(known())(0, None)
    numbers: Recount = Counter()
    for start in range(0, len(shuffled), 7):
        assert fold(state, shuffled[start : start + 7], batch=3) == []
        published(state.rows(), numbers)
    assert nonzero(numbers) == recount(events)


@given(EVENTS, st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_a_definition_that_comes_late_changes_no_number(events: list[Event], when: int) -> None:
    """Attributes wait for the definition that asks for them."""
    definitions = Definitions()
    state = MetricsPartitions(definitions)(0, None)
    fold(state, events[:when])
    numbers = published(state.rows(), Counter())
    definitions.keep(SPEC)
    fold(state, events[when:])
    assert nonzero(published(state.rows(), numbers)) == recount(events)


@given(EVENTS, st.integers(0, 30), st.integers(0, 30), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_a_snapshot_is_of_the_moment_when_it_was_begun(
    events: list[Event], begun: int, replayed: int, chance: random.Random
) -> None:
    """A snapshot that is encoded while events go on being folded holds none of them: what starts from it and
    reads them, some of the earlier ones again, publishes the recount."""
    state = MetricsPartitions(known())(0, None)
    fold(state, events[:begun])
    numbers = published(state.rows(), Counter())
    dump = state.dump()
    before = [next(dump)] if chance.random() < 0.5 else []
    fold(state, events[begun:])
    again: MetricsPartition = MetricsPartitions(known())(0, [*before, *dump])
    assert nonzero(published(again.rows(), Counter(numbers))) == recount(events[:begun])
    fold(again, events[min(begun, replayed) :])
    assert nonzero(published(again.rows(), numbers)) == recount(events)


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_partitions_add_up(events: list[Event], chance: random.Random) -> None:
    """Units spread over any number of partitions: the sums over these are those of one."""
    count = chance.randrange(1, 4)
    place = {unit: chance.randrange(count) for unit in ("u1", "u2", "ü3")}
    total: Recount = Counter()
    latest: Recount = Counter()
    of_time = (LATEST_MS, *map(of_last_exposed, "abc"))
    for number in range(count):
        state = MetricsPartitions(known())(number, None)
        fold(state, [each for each in events if place[each.unit_id] == number])
        numbers = published(state.rows(), Counter())
        for each in of_time:
            latest[each] = max(latest[each], numbers.pop(each, 0))
        total.update(numbers)
    total.update(latest)
    assert nonzero(total) == recount(events)


def test_events_that_lie_too_far_behind_their_records_count_for_nothing() -> None:
    """More than a year behind the record: neither poison nor counted; its neighbour is."""
    makes = MetricsPartitions(known())
    state = makes(0, None)
    old = Exposure(event_id="e1", occurred_at_ms=0, unit_id="u1", experiment_id="x", variant="a")
    new = old.model_copy(update={"event_id": "e2", "unit_id": "u2", "occurred_at_ms": T0})
    batch = Batch.of([record(topic_of(each), each.to_json(), n) for n, each in enumerate([old, new])])
    assert state.fold("exposures", batch) == []
    assert makes.outcomes.too_old == 1
    assert state.rows()[0].variants[0].units == 1


def test_a_snapshot_that_is_given_up_says_nothing_any_more() -> None:
    """Closed before its first chunk it holds nothing; the next one is whole."""
    event = Exposure(event_id="e1", occurred_at_ms=T0, unit_id="u1", experiment_id="x", variant="a")
    state = MetricsPartitions(known())(0, None)
    fold(state, [event])
    given_up = state.dump()
    given_up.close()
    fold(state, [event.model_copy(update={"event_id": "e2", "occurred_at_ms": T0 + 1})])
    assert list(given_up) == []
    again = MetricsPartitions(known())(0, list(state.dump()))
    assert again.rows()[0].variants[0].exposures == 2
