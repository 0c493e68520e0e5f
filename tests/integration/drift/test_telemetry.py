"""What drift counts for Prometheus when it writes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.bus.control import control_message
from libs.common.clock import ManualClock, SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from libs.common.telemetry.names import ALERTS, DEGRADATIONS, EVENTS_IGNORED, collector
from schemas.event import Contract
from schemas.health import Alert, AlertState, Degradation, DegradationCause, Severity
from services.drift.adapters.examples import ExampleDataset
from services.drift.adapters.postgres import PostgresLedger
from services.drift.adapters.rows import RowWriter
from services.drift.bootstrap import MIGRATIONS, SCHEMA
from services.drift.domain.rows import DriftRows, Progress

OPENED = Alert(
    alert_id="a", subject="m", cause="drift", severity=Severity.HIGH, state=AlertState.OPENED, title="t",
    detail="x", source="drift", opened_at_ms=1, changed_at_ms=1,
)  # fmt: skip
DEGRADED = Degradation(
    degradation_id="d", model="m", version="1", cause=DegradationCause.DRIFT, since_ms=1,
    occurred_at_ms=2, reason="x",
)  # fmt: skip


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """Return a pool on the migrated schema, emptied."""
    pool = await connect(database_url, schema=SCHEMA, deadline_ms=10_000, clock=SystemClock())
    await migrate(pool, SCHEMA, MIGRATIONS)
    await pool.execute("TRUNCATE progress, outbox")
    yield pool
    await pool.close()


def ignored(reason: str) -> float:
    """Return the counter's value."""
    return collector(EVENTS_IGNORED).labels(reason)._value.get()


async def test_what_is_left_out_is_counted_once_whoever_writes(pool: Pool, tmp_path: Path) -> None:
    """The counter grows by what is new since the last write of the partition, also when another process did
    that; figures that fell, as after a new start from the log, count for nothing."""
    late, rating = ignored("late"), ignored("rating")
    for left_out in ({"late": 2}, {"late": 5, "rating": 1}, {"late": 1, "rating": 1}, {"late": 2}):
        writer = RowWriter(ExampleDataset(tmp_path))
        async with pool.acquire() as connection, connection.transaction():
            await writer(connection, 0, DriftRows((), (), Progress(1, left_out), ()))
    assert (ignored("late") - late, ignored("rating") - rating) == (6, 1)


async def test_alerts_and_degradations_are_counted_when_they_are_told(pool: Pool) -> None:
    """What is committed is counted by severity, state and cause; what is undone is not."""
    alerts = collector(ALERTS).labels(severity="high", state="opened")
    degradations = collector(DEGRADATIONS).labels(cause="drift")
    before = alerts._value.get(), degradations._value.get()
    ledger = PostgresLedger(pool)

    async def tell(topic: str, event: Contract, error: Exception | None = None) -> None:
        async with ledger.transaction() as desk:
            await desk.enqueue(control_message(topic, "m", event, source="drift", clock=ManualClock()))
            if error is not None:
                raise error

    with pytest.raises(ValueError, match="undone"):
        await tell("alerts", OPENED, ValueError("undone"))
    assert alerts._value.get() == before[0]
    await tell("alerts", OPENED)
    await tell("degradations", DEGRADED)
    assert (alerts._value.get(), degradations._value.get()) == (before[0] + 1, before[1] + 1)
