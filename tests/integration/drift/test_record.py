"""The judge's record on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.clock import SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from libs.statistics.value_counts import ValueCounts
from schemas.versions import ModelState
from services.drift.adapters.examples import ExampleDataset
from services.drift.adapters.postgres import PostgresLedger
from services.drift.adapters.rows import RowWriter
from services.drift.bootstrap import MIGRATIONS, SCHEMA
from services.drift.domain.journal import Journal, OwnBaseline, WindowVerdict
from services.drift.domain.rows import (
    DriftRows,
    Progress,
    Tally,
    VersionKey,
    VersionTotal,
    WindowBody,
    WindowKey,
    WindowRow,
)
from services.drift.domain.windows import Window, counts_of

KEY = VersionKey("m", "1")


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """Return a pool on the migrated schema, emptied."""
    pool = await connect(database_url, schema=SCHEMA, deadline_ms=10_000, clock=SystemClock())
    await migrate(pool, SCHEMA, MIGRATIONS)
    await pool.execute("TRUNCATE windows, totals, progress, models, journals")
    yield pool
    await pool.close()


def _window(start_ms: int, values: list[float]) -> WindowRow:
    window = Window(WindowKey("m", "1", start_ms))
    for value in values:
        window.predicted({"x": value, "city": "Rome"}, "a")
    window.labelled_by(correct=True)
    return window.row()


def _rows(*windows: WindowRow, watermark_ms: int = 5_000) -> DriftRows:
    return DriftRows(windows, (VersionTotal(KEY, 7, 3),), Progress(watermark_ms, {"late": 2}), ())


async def _write(pool: Pool, folder: Path, partition: int, rows: DriftRows) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await RowWriter(ExampleDataset(folder))(connection, partition, rows)


async def test_rows_are_absolute_and_summed(pool: Pool, tmp_path: Path) -> None:
    """A window that is written again replaces itself; partitions add up; histograms survive the way."""
    for values in ([1.0], [1.0, 2.0, 2.0**-45]):
        await _write(pool, tmp_path, 0, _rows(_window(1_000, values)))
    await _write(pool, tmp_path, 1, _rows(_window(1_000, [2.0]), _window(2_000, [3.0]), watermark_ms=9_000))
    async with PostgresLedger(pool).transaction() as desk:
        assert await desk.tallies() == {KEY: [Tally(1_000, 4, 0, 2, 2), Tally(2_000, 1, 0, 1, 1)]}
        counts = counts_of(await desk.bodies(KEY, [1_000]))["x"]
        assert counts.counts == ValueCounts.of([1.0, 2.0, 2.0, 2.0**-45]).counts
        assert await desk.totals() == [VersionTotal(KEY, 14, 6)]
        assert (await desk.progress())[1] == Progress(9_000, {"late": 2})
        await desk.prune(KEY, 2_000)
        assert await desk.tallies() == {KEY: [Tally(2_000, 1, 0, 1, 1)]}
        bodies = await desk.bodies(KEY, [1_000, 2_000])
        assert [type(each) for each in bodies] == [WindowBody]


async def test_late_labels_keep_the_histograms(pool: Pool, tmp_path: Path) -> None:
    """A window that only waited for labels brings two numbers; the histograms stay as they were."""
    await _write(pool, tmp_path, 0, _rows(_window(1_000, [1.0, 2.0])))
    late = WindowRow(WindowKey("m", "1", 1_000), Tally(1_000, 2, 0, 2, 1), None)
    await _write(pool, tmp_path, 0, DriftRows((late,), (), Progress(9_000, {}, 8_000)))
    async with PostgresLedger(pool).transaction() as desk:
        assert await desk.tallies() == {KEY: [Tally(1_000, 2, 0, 2, 1)]}
        assert counts_of(await desk.bodies(KEY, [1_000]))["x"].counts == ValueCounts.of([1.0, 2.0]).counts
        assert (await desk.progress())[0] == Progress(9_000, {}, 8_000)


async def test_journals_and_models_are_kept(pool: Pool) -> None:
    """A journal comes back as it was saved; of a model the highest revision stays."""
    ledger = PostgresLedger(pool)
    journal = Journal(KEY, looks=3, recent=[WindowVerdict(1, 2, ("x",))], baseline=OwnBaseline("{}", 5))
    for revision in (2, 1):
        await ledger.learn(
            ModelState(
                model="m", revision=revision, champion=None, challenger=None, updated_at_ms=0, reason=""
            )
        )
    async with ledger.transaction() as desk:
        await desk.save(journal)
    async with ledger.transaction() as desk:
        assert await desk.journals([KEY, VersionKey("m", "2")]) == {KEY: journal}
        assert (await desk.models())["m"].revision == 2


async def test_judges_take_turns(pool: Pool) -> None:
    """A second judge waits until the first has finished its round."""
    ledger, order = PostgresLedger(pool), []

    async def round_of(name: str) -> None:
        async with ledger.transaction() as desk:
            order.append(name)
            await desk.tallies()
            await asyncio.sleep(0.05)
            order.append(name)

    await asyncio.gather(round_of("a"), round_of("b"))
    assert order in (["a", "a", "b", "b"], ["b", "b", "a", "a"])
