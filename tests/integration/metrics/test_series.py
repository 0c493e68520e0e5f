"""Ingest's rows through PostgreSQL to the judge's case: written per partition, read summed, to the digit."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from libs.common.clock import ManualClock, SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from libs.statistics.sums import Sums
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.results import MAX_HOURS, Result
from services.metrics.adapters.judgements import PostgresJudgements
from services.metrics.adapters.rows import write_rows
from services.metrics.bootstrap.ground import MIGRATIONS, SCHEMA
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.rows import (
    ExperimentRow,
    HourRow,
    MetricRow,
    SegmentKind,
    SegmentRow,
    VariantRow,
)
from services.metrics.domain.totals import ExperimentTotals, SegmentKey, VariantTotals
from services.metrics.handlers.judge import judge

HOUR_MS = 3_600_000
T0 = 472_222 * HOUR_MS
BIG = 10**40 + 7
SUMS = Sums(5, 3, -BIG, BIG * BIG, BIG + 1, BIG * BIG + 2, -BIG * BIG - 3)
VALUES = ("Zürich, \U0001f682", "", "a\\0b", "a\0b")


class Record:
    """The service's tables, written by ingest's adapter and read by the judge's."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.store = PostgresJudgements(pool, ManualClock(T0))

    async def write(self, partition: int, *rows: ExperimentRow) -> None:
        """Write in a transaction, as the line does."""
        async with self.pool.acquire() as connection, connection.transaction():
            await write_rows(connection, partition, rows)

    async def judged(self) -> tuple[ExperimentTotals, Result]:
        """Return what came before the judge, and what it says."""
        seen: list[tuple[Case, Judgement]] = []

        def decide(case: Case) -> Judgement:
            judgement = judge(case, T0)
            seen.append((case, judgement))
            return judgement

        await self.store.settle("x", decide)
        ((case, judgement),) = seen
        assert judgement.result is not None
        return case.totals, judgement.result


@pytest.fixture
async def record(database_url: str) -> AsyncIterator[Record]:
    """The service's schema, new, with the definition of experiment x."""
    pool = await connect(database_url, schema=SCHEMA, deadline_ms=20_000, clock=SystemClock())
    async with pool:
        await pool.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await migrate(pool, SCHEMA, MIGRATIONS)
        here = Record(pool)
        await here.store.keep(definition())
        yield here


def definition(**changes: object) -> Experiment:
    """Return experiment x, broken down by city."""
    base = Experiment(
        experiment_id="x",
        variants=(Variant(key="a"), Variant(key="b")),
        control="a",
        metrics=(Metric(name="revenue", conversion="purchase", kind=MetricKind.MEAN),),
        breakdowns=(Breakdown(attribute="city", values=VALUES),),
        state=ExperimentState.RUNNING,
        revision=1,
        stage_started_at_ms=T0,
        created_at_ms=T0,
        updated_at_ms=T0,
        changed_by="test",
        reason="test",
    )
    return base.model_copy(update=changes)


def rows(
    key: str = "x",
    *,
    sums: Sums = SUMS,
    hours: Sequence[HourRow] = (),
    segments: Sequence[SegmentRow] = (),
) -> ExperimentRow:
    """Return one partition's row of an experiment in which variant a met five units."""
    return ExperimentRow(
        experiment_id=key,
        multi_variant_units=0,
        latest_ms=T0,
        variants=(VariantRow(key, "a", 5, 6, 7),),
        metrics=(MetricRow(key, "a", "revenue", sums),),
        hours=tuple(hours),
        segments=tuple(segments),
    )


def hour(number: int, units: int, exposures: int, conversions: int, variant: str = "a") -> HourRow:
    """Return an hour of experiment x."""
    return HourRow("x", variant, T0 + number * HOUR_MS, units, exposures, conversions)


def segment(kind: SegmentKind, value: str, sums: Sums, metric: str = "revenue") -> SegmentRow:
    """Return a segment of variant a of experiment x."""
    return SegmentRow("x", "a", "city", kind, value, metric, sums)


async def test_sums_and_covariates_beyond_64_bits_come_back_exactly(record: Record) -> None:
    """Every figure of two partitions adds up to the last digit; writing again replaces, never adds."""
    await record.write(0, rows(sums=Sums(1, 1, 1, 1, 1, 1, 1)))
    await record.write(1, rows(sums=SUMS))
    await record.write(0, rows(sums=SUMS))
    found, _ = await record.judged()
    assert found.sums == {("a", "revenue"): SUMS + SUMS}
    assert found.variants == {"a": VariantTotals(10, 12, 14)}


async def test_sketches_of_quantiles_are_summed_bin_by_bin(record: Record) -> None:
    """Of two partitions, negative bins and counts beyond 32 bits included; written again they are replaced,
    and what other kinds may have stored is not read."""
    metrics = (
        Metric(name="typical", conversion="purchase", kind=MetricKind.QUANTILE, quantile=0.5),
        Metric(name="revenue", conversion="purchase", kind=MetricKind.MEAN),
    )
    await record.store.keep(definition(revision=2, metrics=metrics))

    async def write(partition: int, variant: str, sketch: dict[int, int]) -> None:
        names = ("typical", "revenue")
        row = rows()
        written = tuple(MetricRow("x", variant, name, SUMS, sketch) for name in names)
        await record.write(partition, replace(row, metrics=written))

    await write(0, "a", {-2_500: 1, 7: 9})
    await write(1, "a", {-2_500: 2, 0: 5_000_000_000, 3: 1})
    await write(1, "b", {})
    await write(0, "a", {-2_500: 1, 3: 4})
    found, _ = await record.judged()
    assert found.sketches == {("a", "typical"): {-2_500: 3, 0: 5_000_000_000, 3: 5}}
    assert found.sketch("a", "revenue") == found.sketch("b", "typical") == {}


async def test_metrics_from_before_the_covariate_have_none(record: Record) -> None:
    """A row that the older version wrote reads as one with covariates of 0."""
    await record.write(0, rows())
    await record.pool.execute("DELETE FROM partition_metrics")
    await record.pool.execute(
        "INSERT INTO partition_metrics (partition, experiment_id, variant, metric, units, converted_units,"
        " total, total_squares) VALUES (0, 'x', 'a', 'revenue', 5, 3, 8, 9)"
    )
    found, _ = await record.judged()
    assert found.sums == {("a", "revenue"): Sums(5, 3, 8, 9)}


async def test_hours_are_summed_and_those_that_did_not_change_stay(record: Record) -> None:
    """The second write names one hour only; another experiment's hours are not seen."""
    await record.write(0, rows(hours=[hour(0, 1, 1, 1), hour(1, 2, 2, 2)]), rows("y", hours=[]))
    await record.write(1, rows(hours=[hour(1, 10, 10, 10), hour(1, 0, 3, 0, "b")]))
    await record.write(0, rows(hours=[hour(1, 3, 4, 5)]))
    other = HourRow("y", "a", T0 + 9 * HOUR_MS, 1, 1, 1)
    await record.write(0, rows("y", hours=[other]))
    found, result = await record.judged()
    assert found.hours == {
        T0: {"a": VariantTotals(1, 1, 1)},
        T0 + HOUR_MS: {"a": VariantTotals(13, 14, 15), "b": VariantTotals(0, 3, 0)},
    }
    shown = [(each.hour_ms - T0, each.variant, each.exposures) for each in result.hours]
    assert shown == [(0, "a", 1), (0, "b", 0), (HOUR_MS, "a", 14), (HOUR_MS, "b", 3)]


async def test_only_the_latest_hours_in_which_something_happened_are_read(record: Record) -> None:
    """Of a thousand hours with gaps the latest 48; zeros are no hour, however late."""
    await record.write(0, rows(hours=[hour(2 * number, 1, 1, 0) for number in range(1_000)]))
    await record.write(1, rows(hours=[hour(5_000 + number, 0, 0, 0) for number in range(100)]))
    found, result = await record.judged()
    expected = [T0 + 2 * number * HOUR_MS for number in range(1_000 - MAX_HOURS, 1_000)]
    assert sorted(key for key, each in found.hours.items() if each["a"].units) == expected
    assert sorted({each.hour_ms for each in result.hours}) == expected


async def test_segments_of_any_text_are_summed_and_shown(record: Record) -> None:
    """Values with a backslash, a NUL or nothing stay apart; others and none are not the empty value."""
    kinds = [(SegmentKind.VALUE, value) for value in VALUES]
    kinds += [(SegmentKind.OTHER, ""), (SegmentKind.MISSING, "")]
    bare = replace(SUMS, covariate_total=0, covariate_squares=0, cross=0)
    for partition in (0, 1):
        written = [
            segment(kind, value, Sums(units, 1, BIG + units, BIG * BIG + units))
            for units, (kind, value) in enumerate(kinds, start=1)
        ]
        await record.write(partition, rows(segments=written))
    await record.write(0, rows(segments=[segment(*kinds[0], bare)]))
    found, result = await record.judged()
    expected = {
        SegmentKey("city", kind, value, "a", "revenue"): Sums(
            2 * units, 2, 2 * (BIG + units), 2 * (BIG * BIG + units)
        )
        for units, (kind, value) in enumerate(kinds, start=1)
    }
    expected[SegmentKey("city", *kinds[0], "a", "revenue")] = bare + Sums(1, 1, BIG + 1, BIG * BIG + 1)
    assert found.segments == expected
    shown = [(each.value, each.missing, each.units) for each in result.segments if each.variant == "a"]
    assert shown == [
        *[(value, False, units) for value, units in zip(VALUES, (6, 4, 6, 8), strict=True)],
        (None, False, 10),
        (None, True, 12),
    ]


async def test_segments_that_did_not_change_are_not_written_again(record: Record) -> None:
    """The same values twice leave the row's version where it was; a changed one is new."""
    version = "SELECT array_agg(xmin::text || cmin::text ORDER BY value) FROM partition_segments"
    same = segment(SegmentKind.VALUE, "same", SUMS)
    await record.write(0, rows(segments=[same, segment(SegmentKind.VALUE, "changing", SUMS)]))
    before = await record.pool.fetchval(version)
    await record.write(0, rows(segments=[same, segment(SegmentKind.VALUE, "changing", Sums(9))]))
    after = await record.pool.fetchval(version)
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True]


async def test_an_experiment_without_breakdowns_reads_no_segments(record: Record) -> None:
    """Nothing of them could be shown."""
    await record.write(0, rows(segments=[segment(SegmentKind.OTHER, "", SUMS)]))
    await record.store.keep(definition(revision=2, breakdowns=()))
    found, result = await record.judged()
    assert found.segments == {}
    assert result.segments == ()


async def test_an_older_database_gets_the_new_tables(database_url: str, tmp_path: Path) -> None:
    """What the first migration made and ingest wrote is still there after the second."""
    first = tmp_path / "0001_metrics.sql"
    first.write_text((MIGRATIONS / first.name).read_text(encoding="utf-8"), encoding="utf-8")
    pool = await connect(database_url, schema="older", deadline_ms=20_000, clock=SystemClock())
    async with pool:
        await migrate(pool, "older", tmp_path)
        await pool.execute("INSERT INTO partition_metrics VALUES (0, 'x', 'a', 'revenue', 5, 3, 8, 9)")
        await migrate(pool, "older", MIGRATIONS)
        found = await pool.fetchrow("SELECT * FROM partition_metrics")
    assert tuple(found or ()) == (0, "x", "a", "revenue", 5, 3, 8, 9, 0, 0, 0, "{}")
