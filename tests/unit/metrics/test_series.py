"""What a result shows hour by hour and by the breakdowns."""

from collections.abc import Mapping

import pytest

from libs.common.bus.control import control_message
from libs.common.bus.rules import MAX_MESSAGE_BYTES, message_bytes
from libs.common.clock import ManualClock
from libs.statistics.sums import MICRO, Sums
from schemas.experiments import Breakdown, Experiment, Metric, MetricKind, Variant
from schemas.results import MAX_HOURS, MAX_SERIES, HourCount, Result, SegmentSummary
from services.metrics.domain.cases import Case
from services.metrics.domain.memory import JudgeMemory
from services.metrics.domain.rows import SegmentKind
from services.metrics.domain.series import MAX_RESULT_BYTES, Series, series, shown_metrics
from services.metrics.domain.totals import ExperimentTotals, SegmentKey, VariantTotals
from services.metrics.handlers.judge import judge
from tests.unit.metrics.events import T0, experiment

HOUR_MS = 3_600_000
ROOM = 10_000_000
NOBODY = VariantTotals()


def totals(
    hours: Mapping[int, Mapping[str, VariantTotals]] | None = None,
    segments: Mapping[SegmentKey, Sums] | None = None,
) -> ExperimentTotals:
    """Return totals that hold nothing but these."""
    return ExperimentTotals({}, {}, 0, T0, hours=hours or {}, segments=segments or {})


def broken_down(*breakdowns: Breakdown, variants: int = 2, metrics: int = 1) -> Experiment:
    """Return an experiment with variants a, b, ... and metrics m00, m01, ..."""
    keys = [chr(ord("a") + number % 26) * (1 + number // 26) for number in range(variants)]
    names = [f"m{number:02}" for number in range(metrics)]
    base = experiment(
        variants=[Variant(key=key) for key in keys],
        metrics=[Metric(name=name, conversion=name, kind=MetricKind.MEAN) for name in names],
    )
    return base.model_copy(update={"breakdowns": breakdowns})


def values(count: int) -> tuple[str, ...]:
    """Return so many values."""
    return tuple(f"value-{number:02}" for number in range(count))


def cells(found: Series) -> list[tuple[str, str, str | None, bool, str]]:
    """Return metric, attribute, value, missing and variant of the segments, in their order."""
    return [(s.metric, s.attribute, s.value, s.missing, s.variant) for s in found.segments]


def test_hours_ascend_and_hold_every_variant_of_the_definition() -> None:
    """Within an hour: the definition's order, zeros included, then strangers by name."""
    hours = {
        T0 + HOUR_MS: {"b": VariantTotals(1, 2, 3)},
        T0: {"z": VariantTotals(0, 1, 0), "y": VariantTotals(0, 2, 0), "a": VariantTotals(4, 5, 6)},
    }
    subject = experiment(variants=[Variant(key="b"), Variant(key="a")])
    found = [
        (h.hour_ms - T0, h.variant, h.units, h.exposures, h.conversions)
        for h in series(subject, totals(hours), ROOM).hours
    ]
    assert found == [
        (0, "b", 0, 0, 0),
        (0, "a", 4, 5, 6),
        (0, "y", 0, 2, 0),
        (0, "z", 0, 1, 0),
        (HOUR_MS, "b", 1, 2, 3),
        (HOUR_MS, "a", 0, 0, 0),
    ]


def test_hours_that_came_to_nothing_are_as_if_never_there() -> None:
    """Zeros alone make no hour and bring no stranger in."""
    hours = {T0: {"a": NOBODY, "z": NOBODY}, T0 + HOUR_MS: {"a": VariantTotals(1, 1, 0), "z": NOBODY}}
    found = series(experiment(), totals(hours), ROOM).hours
    assert [(each.hour_ms, each.variant) for each in found] == [(T0 + HOUR_MS, "a"), (T0 + HOUR_MS, "b")]


def test_only_the_latest_hours_are_shown() -> None:
    """Gaps between hours do not count; the oldest hours go."""
    hours = {T0 + 3 * n * HOUR_MS: {"a": VariantTotals(1, 1, 0)} for n in range(MAX_HOURS + 5)}
    found = series(experiment(), totals(hours), ROOM).hours
    assert [each.hour_ms for each in found[::2]] == sorted(hours)[5:]


def test_many_variants_shorten_the_hours_and_never_cut_one() -> None:
    """50 variants: 40 whole hours, the latest ones."""
    subject = broken_down(variants=50)
    hours = {T0 + n * HOUR_MS: {"a": VariantTotals(1, 1, 0)} for n in range(MAX_HOURS)}
    found = series(subject, totals(hours), ROOM).hours
    assert len(found) == MAX_SERIES
    assert found[0].hour_ms == T0 + 8 * HOUR_MS
    assert found[-1].hour_ms == T0 + 47 * HOUR_MS


def test_a_crowd_of_strangers_does_not_hide_the_definition() -> None:
    """More variants in an hour than a series has entries: those of the definition are in."""
    strangers = {f"zz{number:05}": VariantTotals(0, 1, 0) for number in range(MAX_SERIES + 1)}
    found = series(experiment(), totals({T0: strangers}), ROOM).hours
    assert len(found) == MAX_SERIES
    assert [each.variant for each in found[:3]] == ["a", "b", "zz00000"]


def test_segments_follow_the_definition() -> None:
    """Metric, attribute, value in the order given, others, none; and variant: also where nobody is."""
    subject = broken_down(
        Breakdown(attribute="plan", values=("pro", "free")),
        Breakdown(attribute="beta", values=("true",)),
        metrics=2,
    )
    one_metric = [
        (attribute, value, missing, variant)
        for attribute, value, missing in [
            ("plan", "pro", False),
            ("plan", "free", False),
            ("plan", None, False),
            ("plan", None, True),
            ("beta", "true", False),
            ("beta", None, False),
            ("beta", None, True),
        ]
        for variant in ("a", "b")
    ]
    found = series(subject, totals(), ROOM)
    assert cells(found) == [(metric, *each) for metric in ("m00", "m01") for each in one_metric]
    assert {(each.units, each.mean, each.variance) for each in found.segments} == {(0, None, None)}


def test_a_segment_has_its_own_sums() -> None:
    """An empty value is a value, not the others; what nobody defined is left out."""
    sums = Sums(3, 2, 6 * MICRO, 20 * MICRO**2)
    segments = {
        SegmentKey("plan", SegmentKind.VALUE, "", "a", "m00"): sums,
        SegmentKey("plan", SegmentKind.OTHER, "", "b", "m00"): sums + sums,
        SegmentKey("plan", SegmentKind.VALUE, "gone", "b", "m00"): sums,
        SegmentKey("plan", SegmentKind.VALUE, "", "z", "m00"): sums,
    }
    found = series(broken_down(Breakdown(attribute="plan", values=("",))), totals({}, segments), ROOM)
    filled = [each for each in found.segments if each.units]
    assert [(e.value, e.variant, e.units, e.converted_units, e.mean, e.variance) for e in filled] == [
        ("", "a", 3, 2, 2.0, 4.0),
        (None, "b", 6, 4, 2.0, pytest.approx(3.2)),
    ]


def test_many_segments_are_those_of_the_first_metrics() -> None:
    """At most the limit, and no segment without some of its variants."""
    subject = broken_down(Breakdown(attribute="plan", values=values(31)), variants=3, metrics=50)
    found = series(subject, totals(), ROOM)
    assert len(found.segments) == MAX_SERIES - MAX_SERIES % 3
    assert found.segments[-1].metric == "m20"
    assert found.segments[-1].variant == "c"
    assert shown_metrics(subject) == tuple(f"m{number:02}" for number in range(21))


def test_only_metrics_that_can_be_shown_are_read() -> None:
    """None without a breakdown; the first one where it alone is too much; all where they fit."""
    wide = tuple(Breakdown(attribute=f"attribute-{n}", values=values(50)) for n in range(5))
    assert shown_metrics(broken_down(metrics=3)) == ()
    assert shown_metrics(broken_down(*wide, variants=50, metrics=50)) == ("m00",)
    assert shown_metrics(broken_down(wide[0], metrics=3)) == ("m00", "m01", "m02")


def test_the_room_is_kept_and_hours_come_first() -> None:
    """In any room: the entries' JSON fits, and grows with the room; without room there is nothing."""
    subject = broken_down(Breakdown(attribute="plan", values=values(4)), metrics=3)
    hours = {T0 + n * HOUR_MS: {"a": VariantTotals(1, 1, 0)} for n in range(9)}
    whole = series(subject, totals(hours), ROOM)
    shown = []
    for room in range(0, 10_000, 97):
        found = series(subject, totals(hours), room)
        entries: list[HourCount | SegmentSummary] = [*found.hours, *found.segments]
        assert sum(len(each.to_json()) + 1 for each in entries) <= room
        assert whole.hours[len(whole.hours) - len(found.hours) :] == found.hours
        assert whole.segments[: len(found.segments)] == found.segments
        shown.append(len(entries))
    assert shown[0] == 0
    assert shown == sorted(shown)


def test_the_result_shows_both() -> None:
    """The judge puts the series in, and the result reads back as it was."""
    subject = broken_down(Breakdown(attribute="plan", values=("pro",)))
    found = totals(
        {T0: {"a": VariantTotals(2, 2, 0)}},
        {SegmentKey("plan", SegmentKind.MISSING, "", "a", "m00"): Sums(2, 1, MICRO, MICRO**2)},
    )
    result = judge(Case(subject, found, JudgeMemory()), T0).result
    assert result is not None
    assert [(each.variant, each.units) for each in result.hours] == [("a", 2), ("b", 0)]
    assert [each.missing for each in result.segments if each.units] == [True]
    assert Result.model_validate_json(result.to_json()) == result


def test_series_never_make_a_result_too_large() -> None:
    """20 variants, 25 metrics and long names that the bus takes without series: with them as well, as many
    as there is room for."""
    long_name = "x" * 110
    subject = broken_down(Breakdown(attribute=long_name, values=values(50)), variants=20, metrics=25)
    hours = {T0 + n * HOUR_MS: {"a": VariantTotals(1, 1, 0)} for n in range(MAX_HOURS)}
    some = Sums(1_000, 3, MICRO, MICRO**2)
    sums = {(variant.key, metric.name): some for variant in subject.variants for metric in subject.metrics}
    counts = {variant.key: VariantTotals(1_000, 1_000, 3) for variant in subject.variants}
    bare = ExperimentTotals(counts, sums, 0, T0, {"exposures-0": 7}, hours)
    result = judge(Case(subject, bare, JudgeMemory()), T0).result
    assert result is not None
    assert 0 < len(result.hours) + len(result.segments) < 2 * MAX_SERIES
    assert len(result.to_json()) <= MAX_RESULT_BYTES
    message = control_message("results", "k" * 128, result, source="metrics", clock=ManualClock(T0))
    assert message_bytes(message) < MAX_MESSAGE_BYTES
