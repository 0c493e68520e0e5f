"""The recount of one partition: against the reference, and rule by rule."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.facts import Conversion, Exposure
from services.metrics.audit.events import Did, Met
from services.metrics.audit.numbers import (
    LATEST_MS,
    MULTI_VARIANT_UNITS,
    Segment,
    of_bin,
    of_hour,
    of_metric,
    of_variant,
)
from services.metrics.audit.recompute import HOUR_MS, MICRO, Recount, micro, recompute, text_of
from tests.world.metrics_reference import reference

T0 = 1_700_000_400_000 - 1_700_000_400_000 % HOUR_MS
WINDOW_MS = 1_000
SUMS = ("units", "converted_units", "total", "total_squares")

BOUGHT = Metric(name="bought", conversion="purchase", window_ms=WINDOW_MS)
REVENUE = Metric(name="revenue", conversion="purchase", kind=MetricKind.MEAN, window_ms=2 * WINDOW_MS)


def experiment(metrics: Sequence[Metric] = (BOUGHT, REVENUE), **changes: object) -> Experiment:
    """Return a running experiment `x`."""
    base = Experiment(
        experiment_id="x",
        variants=(Variant(key="a"), Variant(key="b")),
        control="a",
        metrics=tuple(metrics),
        state=ExperimentState.RUNNING,
        revision=1,
        stage_started_at_ms=T0,
        created_at_ms=T0,
        updated_at_ms=T0,
        changed_by="test",
        reason="test",
    )
    return base.model_copy(update=changes)


def met(
    unit: str = "u",
    at_ms: int = 0,
    variant: str = "a",
    event_id: str | None = None,
    **attributes: str | bool | float,
) -> Met:
    """Return an exposure `at_ms` after the start of time; its place in the log is given later."""
    return Met(0, event_id or f"e-{unit}-{variant}-{at_ms}", T0 + at_ms, unit, variant, attributes)


def did(
    unit: str = "u", at_ms: int = 0, value: float = 1.0, event_id: str | None = None, name: str = "purchase"
) -> Did:
    """Return a conversion."""
    return Did(0, event_id or f"c-{unit}-{at_ms}-{value}", T0 + at_ms, unit, name, value)


def recount(subject: Experiment, exposures: Sequence[Met], conversions: Sequence[Did] = ()) -> Recount:
    """Return the recount of events that lie in the log as given here."""
    return recompute(
        subject,
        [each._replace(offset=offset) for offset, each in enumerate(exposures)],
        [each._replace(offset=offset) for offset, each in enumerate(conversions)],
    )


UNITS = st.sampled_from(["u1", "u2", "u3"])
TIMES = st.integers(0, 4_000)
EXPOSURES = st.builds(met, unit=UNITS, at_ms=TIMES, variant=st.sampled_from(["a", "a", "a", "b"]))
CONVERSIONS = st.builds(
    did,
    unit=UNITS,
    at_ms=TIMES,
    value=st.floats(-1e6, 1e6, width=32),
    name=st.sampled_from(["purchase", "other"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(EXPOSURES, max_size=12), st.lists(CONVERSIONS, max_size=12))
def test_agrees_with_the_reference(exposures: list[Met], conversions: list[Did]) -> None:
    """Counts, sums, crossed units and the latest time are those of the world's reference, for any events."""
    # The reference believes the last of two events with the same id: these differ in nothing but the name.
    conversions = list({each.event_id: each for each in conversions}.values())
    subject = experiment()
    found = recount(subject, exposures, conversions)
    expected = reference(
        subject,
        [
            Exposure(
                event_id=e.event_id,
                occurred_at_ms=e.at_ms,
                unit_id=e.unit_id,
                experiment_id="x",
                variant=e.variant,
            )
            for e in exposures
        ],
        [
            Conversion(
                event_id=c.event_id, occurred_at_ms=c.at_ms, unit_id=c.unit_id, name=c.name, value=c.value
            )
            for c in conversions
        ],
    )
    assert found[MULTI_VARIANT_UNITS] == expected.multi_variant_units
    assert found[LATEST_MS] == expected.latest_ms
    for variant, counts in expected.counts.items():
        names = ("units", "exposures", "conversions")
        assert tuple(found[of_variant(variant, name)] for name in names) == tuple(counts)
    for (variant, metric), sums in expected.metrics.items():
        assert tuple(found[of_metric(metric, variant, name)] for name in SUMS) == tuple(sums)


@settings(max_examples=100, deadline=None)
@given(st.lists(EXPOSURES, max_size=12), st.lists(CONVERSIONS, max_size=12))
def test_hours_and_segments_add_up(exposures: list[Met], conversions: list[Did]) -> None:
    """Over all hours the counts are the variant's, and over a breakdown's segments the metric's sums."""
    subject = experiment(breakdowns=(Breakdown(attribute="land", values=("de",)),))
    lands: list[dict[str, str]] = [{"land": "de"}, {"land": "fr"}, {}]
    exposures = [each._replace(attributes=lands[each.at_ms % 3]) for each in exposures]
    found = recount(subject, exposures, conversions)
    for variant in ("a", "b"):
        for name in ("units", "exposures", "conversions"):
            by_hour = [
                n
                for place, n in found.items()
                if place[0] == "hour" and place[2:] == ("variant", variant, name)
            ]
            assert sum(by_hour) == found[of_variant(variant, name)]
        for name in SUMS:
            tail = of_metric("revenue", variant, name)
            parts = [n for place, n in found.items() if place[0] == "segment" and place[4:] == tail]
            assert sum(parts) == found[tail]


def test_the_earliest_in_the_log_is_believed() -> None:
    """Of two events with the same id, the one with the smaller offset counts, whatever their times."""
    found = recount(
        experiment(),
        [met(at_ms=50, event_id="e"), met(at_ms=0, variant="b", event_id="e")],
        [did(at_ms=60, value=2.0, event_id="c"), did(at_ms=55, value=5.0, event_id="c")],
    )
    assert found[of_variant("a", "units")] == 1
    assert found[MULTI_VARIANT_UNITS] == 0
    assert found[of_metric("revenue", "a", "total")] == 2 * MICRO


def test_a_units_value_is_brought_within_the_bounds_once_it_converted() -> None:
    """Winsorising holds for the sum of a unit; one without conversions has 0 all the same."""
    bounded = REVENUE.model_copy(update={"lower_bound": 1.5, "upper_bound": 10.0})
    found = recount(
        experiment([bounded]),
        [met("low"), met("high"), met("none")],
        [did("low", 1, 1.0), did("high", 1, 9.0), did("high", 2, 9.0)],
    )
    assert found[of_metric("revenue", "a", "total")] == 11_500_000
    assert found[of_metric("revenue", "a", "total_squares")] == 1_500_000**2 + 10_000_000**2
    assert found[of_metric("revenue", "a", "converted_units")] == 2
    assert found[of_metric("revenue", "a", "units")] == 3


def test_the_covariate_looks_back_and_excludes_the_exposures_own_millisecond() -> None:
    """x is the sum from `covariate_window_ms` before the first exposure to just before it; y what follows."""
    looking_back = REVENUE.model_copy(update={"covariate_window_ms": 100})
    done = [
        did(at_ms=899, value=50.0),
        did(at_ms=900, value=3.0),
        did(at_ms=999, value=4.0),
        did(at_ms=1_000, value=2.0),
    ]
    found = recount(experiment([looking_back]), [met(at_ms=1_000)], done)
    assert found[of_metric("revenue", "a", "covariate_total")] == 7 * MICRO
    assert found[of_metric("revenue", "a", "covariate_squares")] == 49 * MICRO**2
    assert found[of_metric("revenue", "a", "cross_total")] == 14 * MICRO**2
    assert found[of_metric("revenue", "a", "total")] == 2 * MICRO
    assert found[of_variant("a", "conversions")] == 1


def test_a_count_is_of_conversions_whatever_their_value() -> None:
    """y is how many there are within the window, x how many before it."""
    orders = REVENUE.model_copy(update={"kind": MetricKind.COUNT, "covariate_window_ms": 100})
    done = [did(at_ms=at_ms, value=-7.5) for at_ms in (950, 1_000, 1_001, 1_000 + 2 * WINDOW_MS)]
    found = recount(experiment([orders]), [met(at_ms=1_000), met("v")], done)
    assert [found[of_metric("revenue", "a", name)] for name in SUMS] == [2, 1, 3 * MICRO, 9 * MICRO**2]
    assert found[of_metric("revenue", "a", "covariate_total")] == MICRO
    assert found[of_metric("revenue", "a", "cross_total")] == 3 * MICRO**2


def test_a_ratios_denominator_stands_in_the_covariates_place() -> None:
    """x is the sum of the other conversion in the same window; it makes no unit a converted one."""
    basket = REVENUE.model_copy(update={"kind": MetricKind.RATIO, "denominator": "visit"})
    done = [
        did(at_ms=999, value=9.0),
        did(at_ms=999, value=9.0, name="visit"),
        did(at_ms=1_000, value=2.0),
        did(at_ms=1_000, value=3.0, name="visit", event_id="v1"),
        did(at_ms=1_000 + 2 * WINDOW_MS, value=4.0, name="visit"),
        did("v", at_ms=1_000, value=5.0, name="visit"),
    ]
    found = recount(experiment([basket]), [met(at_ms=1_000), met("v", at_ms=1_000)], done)
    assert [found[of_metric("revenue", "a", name)] for name in SUMS] == [2, 1, 2 * MICRO, 4 * MICRO**2]
    assert found[of_metric("revenue", "a", "covariate_total")] == 12 * MICRO
    assert found[of_metric("revenue", "a", "covariate_squares")] == (49 + 25) * MICRO**2
    assert found[of_metric("revenue", "a", "cross_total")] == 14 * MICRO**2
    assert found[of_variant("a", "conversions")] == 4


def test_a_quantiles_sketch_holds_the_units_that_converted() -> None:
    """By bin of the unit's sum: small values have bins of their own; units in two variants are in none."""
    typical = REVENUE.model_copy(update={"kind": MetricKind.QUANTILE, "quantile": 0.5})
    done = [
        did("u", 1, 0.000001),
        did("u", 2, 0.000002),
        did("v", 1, 0.000003),
        did("w", 1, -0.000003),
        did("both", 1, 0.000003),
    ]
    exposures = [met(unit) for unit in ("u", "v", "w", "nobody", "both")] + [met("both", variant="b")]
    found = recount(experiment([typical, BOUGHT]), exposures, done)
    assert {place: n for place, n in found.items() if "bin" in place} == {
        of_bin("revenue", "a", 3): 2,
        of_bin("revenue", "a", -3): 1,
    }


def test_events_count_in_their_own_hours() -> None:
    """A unit counts in the hour of its first exposure, exposures and conversions in their own."""
    found = recount(
        experiment([REVENUE.model_copy(update={"window_ms": 3 * HOUR_MS})]),
        [met(at_ms=HOUR_MS - 1), met(at_ms=HOUR_MS)],
        [did(at_ms=2 * HOUR_MS)],
    )
    assert found[of_hour(T0, "a", "units")] == found[of_hour(T0, "a", "exposures")] == 1
    assert found[of_hour(T0 + HOUR_MS, "a", "exposures")] == 1
    assert found[of_hour(T0 + HOUR_MS, "a", "units")] == 0
    assert found[of_hour(T0 + 2 * HOUR_MS, "a", "conversions")] == 1


def test_attributes_are_those_of_the_first_exposure() -> None:
    """Of two exposures in the same millisecond the one whose id has the smaller hash decides."""
    subject = experiment(breakdowns=(Breakdown(attribute="land", values=("1", "2")),))
    first, second = sorted(["e1", "e2"], key=lambda each: xxh3_64_intdigest(each.encode()))
    found = recount(
        subject, [met(event_id=second, land=2.0), met(event_id=first, land=1.0), met(at_ms=5, land=2.0)]
    )
    assert found[Segment("land", "value", "1").of_metric("bought", "a", "units")] == 1
    assert found[Segment("land", "value", "2").of_metric("bought", "a", "units")] == 0


def test_an_attributes_value_is_named_by_its_json_text() -> None:
    """Text as it is, true and false, whole numbers without a point, other numbers as JSON has them."""
    assert [text_of(each) for each in ("de", True, False, 1.0, -0.0, 1.5, 1e12, 1e-7)] == [
        "de", "true", "false", "1", "0", "1.5", "1000000000000", "1e-07",
    ]  # fmt: skip


def test_values_are_rounded_half_to_even() -> None:
    """Exactly half a millionth goes to the even neighbour; the float's exact value counts, not its text."""
    assert [micro(each) for each in (0.1, 1.0, 1e12)] == [
        100_000,
        MICRO,
        10**18,
    ]
    assert micro(1 / 128) == 7_812  # 7812.5
    assert micro(3 / 128) == 23_438  # 23437.5


def test_exposures_of_one_unit_are_counted_up_to_the_limit() -> None:
    """The 65th distinct exposure of a unit to a variant is not counted, and may still be the first."""
    found = recount(
        experiment(), [met(at_ms=100 + number) for number in range(64)] + [met(at_ms=0)], [did(at_ms=1)]
    )
    assert found[of_variant("a", "exposures")] == 64
    assert found[of_metric("bought", "a", "converted_units")] == 1


def test_exposures_long_after_the_end_count_for_nothing() -> None:
    """An ended experiment takes exposures until its end, its longest window and two days of lateness."""
    ended = experiment(state=ExperimentState.STOPPED, ended_at_ms=T0)
    last_ms = 2 * WINDOW_MS + 48 * HOUR_MS
    found = recount(ended, [met("in", last_ms), met("out", last_ms + 1)])
    assert found[of_variant("a", "units")] == 1
