"""Both stores keep the promises of ports.Store: in memory and in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.common.clock import ManualClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import connect
from schemas.health import Alert, AlertState, Severity
from schemas.versions import (
    ModelState,
    ModelVersion,
    Registration,
    Retraining,
    RetrainingCause,
    RetrainingState,
    VersionRole,
)
from services.retrainer.adapters.memory import MemoryStore
from services.retrainer.adapters.postgres import SCHEMA, PostgresStore
from services.retrainer.bootstrap import MIGRATIONS
from services.retrainer.domain.runs import Run
from services.retrainer.domain.versions import VersionChange
from services.retrainer.ports import Store

NOW_MS = 1_700_000_000_000
V1 = ModelVersion(version="1", origin="registered", created_at_ms=1, scores={"accuracy": 1.0})


def model_state(model: str, revision: int) -> ModelState:
    """Version 1 in charge."""
    return ModelState(
        model=model, revision=revision, champion=V1, challenger=None, updated_at_ms=NOW_MS, reason="r"
    )


def run(model: str, number: int = 1, state: RetrainingState = RetrainingState.REQUESTED) -> Run:
    """A retraining of a model."""
    event = Retraining(
        retraining_id=f"{model}-r{number}",
        model=model,
        state=state,
        cause=RetrainingCause.REQUEST,
        requested_by="ann",
        occurred_at_ms=NOW_MS + number,
        reason="because",
    )
    return Run(event, NOW_MS, "why", NOW_MS + number, 1, NOW_MS + 5, "3")


def alert(model: str, state: AlertState) -> Alert:
    """An episode."""
    return Alert(
        alert_id="a1",
        subject=model,
        cause="retraining",
        severity=Severity.LOW,
        state=state,
        title="t",
        detail="d",
        source="retrainer",
        opened_at_ms=1,
        changed_at_ms=1,
    )


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Store]:
    """Each store in turn."""
    if request.param == "memory":
        yield MemoryStore()
        return
    clock = ManualClock()
    pool = await connect(database_url, schema=SCHEMA, deadline_ms=30_000, clock=clock)
    try:
        await migrate(pool, SCHEMA, MIGRATIONS)
        await pool.execute(
            "TRUNCATE models, versions_log, runs, heard, registrations, alerts, outbox RESTART IDENTITY"
        )
        store = PostgresStore(pool, clock)
        await store.forget()
        yield store
    finally:
        await pool.close()


async def test_what_is_written_is_read_again(store: Store) -> None:
    """State, run and alert come back as they were saved, in the next transaction."""
    async with store.transaction("m") as transaction:
        assert await transaction.model() is None
        await transaction.save_model(model_state("m", 1), [VersionChange("1", "champion", V1)])
        await transaction.save_run(run("m"))
        await transaction.save_alert(alert("m", AlertState.OPENED))
    async with store.transaction("m") as transaction:
        assert await transaction.model() == model_state("m", 1)
        assert await transaction.version("1") == V1
        assert await transaction.version("2") is None
        assert await transaction.run("m-r1") == run("m")
        assert await transaction.open_run() == run("m")
        assert await transaction.open_alert("retraining") == alert("m", AlertState.OPENED)
        await transaction.save_alert(alert("m", AlertState.RESOLVED))
        assert await transaction.open_alert("retraining") is None


async def test_error_undoes_everything(store: Store) -> None:
    """What was written before an error in the same transaction never was."""

    async def fail() -> None:
        async with store.transaction("m") as transaction:
            await transaction.first_time("retraining", "x")
            await transaction.save_model(model_state("m", 1), [])
            raise RuntimeError("here")

    with pytest.raises(RuntimeError, match="here"):
        await fail()
    async with store.transaction("m") as transaction:
        assert await transaction.model() is None
        assert await transaction.first_time("retraining", "x")
        assert not await transaction.first_time("retraining", "x")
        assert await transaction.first_time("registration", "x")


async def test_models_are_apart(store: Store) -> None:
    """One model's runs and alerts are nothing to another."""
    async with store.transaction("a") as transaction:
        await transaction.save_run(run("a"))
        await transaction.save_alert(alert("a", AlertState.OPENED))
    async with store.transaction("b") as transaction:
        assert await transaction.open_run() is None
        assert await transaction.open_alert("retraining") is None
        assert await transaction.last_trained_at_ms() is None


async def test_due_runs_come_the_longest_waiting_first(store: Store) -> None:
    """Only runs that are under way and due are returned, the longest waiting first."""
    for model, number, state in (
        ("a", 3, RetrainingState.TRAINING),
        ("b", 2, RetrainingState.REQUESTED),
        ("c", 1, RetrainingState.REGISTERED),
        ("d", 9, RetrainingState.COLLECTING),
    ):
        async with store.transaction(model) as transaction:
            await transaction.save_run(run(model, number, state))
    assert [each.model for each in await store.due_runs(NOW_MS + 5)] == ["b", "a"]
    async with store.transaction("c") as transaction:
        assert await transaction.last_trained_at_ms() == NOW_MS + 1


async def test_waiting_retraining_gives_its_place_in_one_step(store: Store) -> None:
    """One retraining can end and the next of the same model begin in one transaction."""
    async with store.transaction("m") as transaction:
        await transaction.save_run(run("m", 1))
    async with store.transaction("m") as transaction:
        await transaction.save_run(run("m", 1).moved(RetrainingState.REFUSED, "gives way", NOW_MS))
        await transaction.save_run(run("m", 2))
    async with store.transaction("m") as transaction:
        assert await transaction.open_run() == run("m", 2)
        assert await transaction.last_trained_at_ms() is None


async def test_registrations_queue_in_order(store: Store) -> None:
    """Requests are returned in the order in which they came, until they are removed."""
    requests = [
        Registration(
            registration_id=f"g{number}",
            model="m",
            version=str(number),
            role=VersionRole.CHAMPION,
            requested_by="ann",
            occurred_at_ms=NOW_MS,
            reason="r",
        )
        for number in (2, 1)
    ]
    for each in requests:
        async with store.transaction("m") as transaction:
            await transaction.add_registration(each)
    assert list(await store.registrations()) == requests
    async with store.transaction("m") as transaction:
        await transaction.remove_registration("g2")
    assert list(await store.registrations()) == requests[1:]


async def test_aliases_are_due_until_noted(store: Store) -> None:
    """A state is due until its revision is noted; an older note does not hide a newer state."""
    for revision in (1, 2):
        async with store.transaction("m") as transaction:
            await transaction.save_model(model_state("m", revision), [])
    await store.aliased("m", 1)
    assert [each.revision for each in await store.unaliased()] == [2]
    await store.aliased("m", 2)
    assert not await store.unaliased()


async def test_one_transaction_a_model_at_a_time(store: Store) -> None:
    """Two that change the same model wait for one another: no change is lost."""

    async def count_up() -> None:
        async with store.transaction("m") as transaction:
            before = await transaction.model()
            await asyncio.sleep(0)
            await transaction.save_model(model_state("m", before.revision + 1 if before else 1), [])

    await asyncio.gather(*(count_up() for _ in range(4)))
    async with store.transaction("m") as transaction:
        state = await transaction.model()
    assert state is not None
    assert state.revision == 4


async def test_duty_belongs_to_one(store: Store) -> None:
    """While one has a duty another has not; when the first lets go, the other gets it."""
    async with store.leading("second") as other_duty, store.leading("runs") as waiting:
        async with store.leading("runs") as first:
            assert await first.held()
            assert await first.held()
            assert not await waiting.held()
            assert await other_duty.held()
        assert await waiting.held()
