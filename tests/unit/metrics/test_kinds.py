"""Counts, ratios and quantiles in a partition, by hand: what is y, what is x, and who is in the sketch."""

from collections.abc import Sequence

from libs.statistics.quantile_sketch import Sketch, bin_of
from libs.statistics.sums import MICRO, Sums
from schemas.experiments import Metric, MetricKind
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.partition import MetricsPartition, MetricsPartitions
from services.metrics.domain.rows import MetricRow
from tests.unit.metrics.events import WINDOW_MS, Event, conversion, experiment, exposure, fold

COUNT = Metric(name="m", conversion="purchase", kind=MetricKind.COUNT, window_ms=WINDOW_MS)
RATIO = COUNT.model_copy(update={"kind": MetricKind.RATIO, "denominator": "visit"})
QUANTILE = COUNT.model_copy(update={"kind": MetricKind.QUANTILE, "quantile": 0.5})
MEAN = COUNT.model_copy(update={"kind": MetricKind.MEAN})


def known(metric: Metric, key: str = "x", revision: int = 1) -> Definitions:
    """Return definitions of one experiment with this metric."""
    definitions = Definitions()
    definitions.keep(experiment(key, metrics=[metric], revision=revision))
    return definitions


def partition(metric: Metric, events: Sequence[Event] = (), batch: int = 10) -> MetricsPartition:
    """Return a partition that has read these events."""
    state = MetricsPartitions(known(metric))(0, None)
    fold(state, events, batch)
    return state


def rows_of(state: MetricsPartition, key: str = "x") -> dict[str, MetricRow]:
    """Return the rows of the experiment's only metric, by variant."""
    (row,) = [each for each in state.rows() if each.experiment_id == key]
    return {each.variant: each for each in row.metrics}


def sketch(*values: float) -> Sketch:
    """Return the sketch of these values."""
    found: Sketch = {}
    for value in values:
        key = bin_of(round(value * MICRO))
        found[key] = found.get(key, 0) + 1
    return found


def test_a_count_is_of_conversions_whatever_their_value() -> None:
    """Values of 0, below 0 and beyond 2^50 micro-units count one each, within the window only."""
    values = (0.0, -3.0, 1e12, 1e12)
    events = [exposure("u", "a", 0), *(conversion("u", n, value) for n, value in enumerate(values))]
    state = partition(COUNT, [*events, conversion("u", WINDOW_MS + 1), exposure("v", "a", 0)])
    assert rows_of(state)["a"].sums == Sums(2, 1, 4 * MICRO, 16 * MICRO**2)


def test_a_count_of_thousands_does_not_overflow() -> None:
    """3,000 conversions of a unit are 3e9 micro-units: more than 32 bits."""
    events = [conversion("u", 1, 1.0, event_id=f"c{number}") for number in range(3_000)]
    state = partition(COUNT, [exposure("u", "a", 0), *events], batch=1_000)
    assert rows_of(state)["a"].sums == Sums(1, 1, 3_000 * MICRO, (3_000 * MICRO) ** 2)


def test_a_count_looks_back_like_a_mean() -> None:
    """The covariate is the number of conversions before the exposure."""
    looking_back = COUNT.model_copy(update={"covariate_window_ms": 100})
    events = [conversion("u", at_ms, 7.0) for at_ms in (399, 400, 499, 500, 501, 502)]
    state = partition(looking_back, [*events, exposure("u", "a", 500)])
    assert rows_of(state)["a"].sums == Sums(
        1, 1, 3 * MICRO, 9 * MICRO**2, 2 * MICRO, 4 * MICRO**2, 6 * MICRO**2
    )


def test_a_ratio_divides_by_what_happened_in_the_same_window() -> None:
    """x is the denominator's sum from the exposure to the window's end; what came before is nothing."""
    events = [
        conversion("u", 99, 50.0, "visit"),
        exposure("u", "a", 100),
        conversion("u", 100, 2.0, "visit"),
        conversion("u", 100 + WINDOW_MS, 3.0, "visit"),
        conversion("u", 101 + WINDOW_MS, 50.0, "visit"),
        conversion("u", 150, 4.0),
        conversion("u", 99, 50.0),
    ]
    state = partition(RATIO, events)
    (row,) = state.rows()
    assert row.metrics[0].sums == Sums(
        1, 1, 4 * MICRO, 16 * MICRO**2, 5 * MICRO, 25 * MICRO**2, 20 * MICRO**2
    )
    assert row.variants[0].conversions == 3


def test_a_unit_with_nothing_but_the_denominator_has_not_converted() -> None:
    """It counts with y = 0 and its x, and its conversions are shown."""
    state = partition(RATIO, [exposure("u", "a", 0), conversion("u", 1, 2.0, "visit")])
    (row,) = state.rows()
    assert row.metrics[0].sums == Sums(1, 0, 0, 0, 2 * MICRO, 4 * MICRO**2)
    assert row.variants[0].conversions == 1


def test_denominators_beyond_64_bits_stay_exact() -> None:
    """Sums that do not fit are kept beside the table, for x as for y."""
    events = [conversion("u", n, 1e12, "visit") for n in range(20)]
    state = partition(RATIO, [exposure("u", "a", 0), *events, conversion("u", 5, -1e12)])
    x, y = 20 * 10**18, -(10**18)
    assert rows_of(state)["a"].sums == Sums(1, 1, y, y * y, x, x * x, x * y)


def test_a_sketch_holds_the_units_that_converted() -> None:
    """One value a unit, the sum of its conversions, 0 and below included; the others are not in it."""
    values = {"u": (1.0, 2.5), "v": (-4.0,), "w": (0.0,), "x": (1e12,) * 10, "nobody": ()}
    events = [exposure(unit, "a", 0) for unit in values]
    events += [conversion(unit, n, value) for unit, each in values.items() for n, value in enumerate(each)]
    found = rows_of(partition(QUANTILE, events))["a"]
    assert found.sketch == sketch(3.5, -4.0, 0.0, 1e13)
    assert found.sums.converted_units == 4


def test_units_move_from_bin_to_bin_and_leave() -> None:
    """A further conversion moves a unit; a second variant takes it out of both, and leaves no bin behind."""
    state = partition(QUANTILE, [exposure("u", "a", 0), conversion("u", 1, 2.0)])
    assert rows_of(state)["a"].sketch == sketch(2.0)
    fold(state, [conversion("u", 2, 3.0)])
    assert rows_of(state)["a"].sketch == sketch(5.0)
    fold(state, [exposure("u", "b", 3)])
    assert {key: row.sketch for key, row in rows_of(state).items()} == {"a": {}, "b": {}}


def test_a_row_is_of_its_moment() -> None:
    """What is published does not change with what is folded afterwards."""
    state = partition(QUANTILE, [exposure("u", "a", 0), conversion("u", 1, 2.0)])
    before = rows_of(state)["a"]
    fold(state, [conversion("u", 2, 3.0)])
    assert before.sketch == sketch(2.0)


def test_the_same_metric_of_another_kind_is_counted_anew() -> None:
    """A quantile that becomes a mean loses its sketch, one that becomes a quantile gets one."""
    definitions = known(QUANTILE)
    state = MetricsPartitions(definitions)(0, None)
    fold(state, [exposure("u", "a", 0), conversion("u", 1, 2.0)])
    assert rows_of(state)["a"].sketch == sketch(2.0)
    for revision, (metric, expected) in enumerate([(MEAN, {}), (QUANTILE, sketch(2.0))], start=2):
        definitions.keep(experiment(metrics=[metric], revision=revision))
        found = rows_of(state)["a"]
        assert found.sketch == expected
        assert found.sums == Sums(1, 1, 2 * MICRO, 4 * MICRO**2)


def test_another_quantile_of_the_same_values_changes_nothing_here() -> None:
    """The sketch serves all of them: nothing is recounted."""
    definitions = known(QUANTILE)
    version = definitions.version
    definitions.keep(experiment(metrics=[QUANTILE.model_copy(update={"quantile": 0.9})], revision=2))
    assert definitions.version == version


def test_experiments_of_different_kinds_share_a_batch() -> None:
    """The first metric of one experiment is a count, of another a ratio, of a third a quantile, of a fourth a
    mean: each has its own."""
    kinds = {"c": COUNT, "r": RATIO, "q": QUANTILE, "m": MEAN}
    definitions = Definitions()
    for key, metric in kinds.items():
        definitions.keep(experiment(key, metrics=[metric]))
    state = MetricsPartitions(definitions)(0, None)
    fold(state, [exposure("u", "a", 0, experiment_id=key) for key in kinds], batch=10)
    fold(state, [conversion("u", 1, 2.0), conversion("u", 1, 5.0, "visit")], batch=10)
    found = {row.experiment_id: row.metrics[0] for row in state.rows()}
    one_purchase = Sums(1, 1, 2 * MICRO, 4 * MICRO**2)
    assert found["c"].sums == Sums(1, 1, MICRO, MICRO**2)
    assert found["r"].sums == Sums(1, 1, 2 * MICRO, 4 * MICRO**2, 5 * MICRO, 25 * MICRO**2, 10 * MICRO**2)
    assert found["q"].sums == found["m"].sums == one_purchase
    assert {key: row.sketch for key, row in found.items()} == {"c": {}, "r": {}, "m": {}, "q": sketch(2.0)}


def test_conversions_beyond_the_limit_leave_the_sketch_too() -> None:
    """Of a unit with too many conversions the earliest are kept: the value is theirs, in whatever order."""
    limits = IngestLimits(conversions_per_unit=2)
    for order in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
        state = MetricsPartitions(known(QUANTILE), limits)(0, None)
        fold(state, [exposure("u", "a", 0), *(conversion("u", at_ms, 10.0**at_ms) for at_ms in order)])
        assert rows_of(state)["a"].sketch == sketch(110.0)


def test_a_snapshot_holds_plan_and_sketch() -> None:
    """What starts from it publishes the same, and goes on moving units."""
    for metric in (COUNT, RATIO, QUANTILE):
        events = [exposure("u", "a", 0), conversion("u", 1, 2.0), conversion("u", 1, 5.0, "visit")]
        state = partition(metric, events)
        again = MetricsPartitions(known(metric))(0, list(state.dump()))
        for each in (state, again):
            fold(each, [conversion("u", 2, 3.0)])
        assert rows_of(again) == rows_of(state)
