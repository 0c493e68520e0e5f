"""The store in PostgreSQL: state, history and the outbox change together or not at all."""

from collections.abc import Sequence

import asyncpg

from libs.common.clock import Clock
from libs.common.db.outages import outages
from libs.common.db.outbox import enqueue
from libs.common.db.pool import Connection, Pool
from libs.common.errors import Conflict
from libs.common.telemetry.names import ROLLBACKS, collector
from schemas.experiments import LIVE_STATES, Experiment, ExperimentKind, ExperimentState
from services.assignment.adapters.messages import messages_of
from services.assignment.domain.change import Change, Past
from services.assignment.domain.life import ENDED
from services.assignment.domain.model_record import ModelRecord
from services.assignment.domain.quarantine import QuarantineAct, QuarantineEntry
from services.assignment.domain.rule_set import Snapshot
from services.assignment.ports import MAX_ENDED

_LIVE = sorted(LIVE_STATES)
_ENDED = sorted(ENDED)

_LIVE_BODIES = "SELECT body FROM experiments WHERE state = ANY($1) ORDER BY experiment_id"
_INSERT = """
    INSERT INTO experiments (experiment_id, revision, state, trial_of, updated_at_ms, body, remembers_since)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (experiment_id) DO NOTHING RETURNING revision
"""
_UPDATE = """
    UPDATE experiments
    SET revision = $2, state = $3, trial_of = $4, updated_at_ms = $5, body = $6, remembers_since = $7
    WHERE experiment_id = $1 AND revision = $2 - 1 RETURNING revision
"""


_LOG = """
    SELECT model, version, act, by, reason, occurred_at_ms FROM quarantine_log WHERE model = $1
    ORDER BY entry_id DESC LIMIT $2
"""


class PostgresStore:
    """Keeps the promises of `ports.Store` in the schema `assignment`."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._rollbacks = collector(ROLLBACKS)

    async def find(self, experiment_id: str) -> Experiment | None:
        """Return an experiment as it stands."""
        with outages("reading an experiment"):
            body = await self._pool.fetchval(
                "SELECT body FROM experiments WHERE experiment_id = $1", experiment_id
            )
        return None if body is None else Experiment.model_validate_json(body)

    async def experiments(self, *, state: ExperimentState | None, limit: int) -> Sequence[Experiment]:
        """Return experiments, the one changed last first."""
        with outages("listing experiments"):
            rows = await self._pool.fetch(
                "SELECT body FROM experiments WHERE $1::text IS NULL OR state = $1"
                " ORDER BY updated_at_ms DESC, experiment_id LIMIT $2",
                state,
                limit,
            )
        return [Experiment.model_validate_json(row["body"]) for row in rows]

    async def history(self, experiment_id: str, *, limit: int) -> Sequence[Past]:
        """Return the newest revisions, oldest first."""
        with outages("reading a history"):
            rows = await self._pool.fetch(
                "SELECT verdict_id, body FROM history WHERE experiment_id = $1"
                " ORDER BY revision DESC LIMIT $2",
                experiment_id,
                limit,
            )
        return [Past(Experiment.model_validate_json(row["body"]), row["verdict_id"]) for row in rows[::-1]]

    async def live_trial(self, model: str) -> Experiment | None:
        """Return the live trial of a model."""
        with outages("reading a live trial"):
            body = await self._pool.fetchval(
                "SELECT body FROM experiments WHERE trial_of = $1 AND state IN ('running', 'paused')", model
            )
        return None if body is None else Experiment.model_validate_json(body)

    async def live(self) -> Sequence[Experiment]:
        """Return all experiments that are live."""
        with outages("reading live experiments"):
            rows = await self._pool.fetch(_LIVE_BODIES, _LIVE)
        return [Experiment.model_validate_json(row["body"]) for row in rows]

    async def live_count(self) -> int:
        """Return how many experiments are live."""
        with outages("counting experiments"):
            return int(
                await self._pool.fetchval("SELECT count(*) FROM experiments WHERE state = ANY($1)", _LIVE)
            )

    async def save(self, changes: Sequence[Change], *, rules_revision: int | None = None) -> None:
        """Write all changes, their history and their events in one transaction."""
        try:
            with outages("saving an experiment"):
                async with self._pool.acquire() as connection, connection.transaction():
                    revision = await _raise_revision(connection)
                    if rules_revision not in (None, revision - 1):
                        raise Conflict("the rules have changed meanwhile", next_step="read them again")
                    for change in changes:
                        await self._write(connection, change)
        except asyncpg.UniqueViolationError as error:
            raise Conflict(f"{error.detail or error}", next_step="read it again") from error
        self._rollbacks.inc(sum(change.rollback is not None for change in changes))

    async def find_model(self, model: str) -> ModelRecord | None:
        """Return what is known of a model."""
        with outages("reading a model"):
            body = await self._pool.fetchval("SELECT body FROM models WHERE model = $1", model)
        return None if body is None else ModelRecord.model_validate_json(body)

    async def save_model(self, record: ModelRecord, *, log: Sequence[QuarantineEntry] = ()) -> None:
        """Write a record and its log."""
        with outages("saving a model"):
            async with self._pool.acquire() as connection, connection.transaction():
                await _raise_revision(connection)
                await _write_model(connection, record)
                await _write_log(connection, log)

    async def quarantine_log(self, model: str, *, limit: int) -> Sequence[QuarantineEntry]:
        """Return the newest entries, oldest first."""
        with outages("reading a log of quarantines"):
            rows = await self._pool.fetch(_LOG, model, limit)
        return [QuarantineEntry(**{**row, "act": QuarantineAct(row["act"])}) for row in rows[::-1]]

    async def models(self) -> Sequence[ModelRecord]:
        """Return what is known of every model."""
        with outages("listing models"):
            rows = await self._pool.fetch("SELECT body FROM models ORDER BY model")
        return [ModelRecord.model_validate_json(row["body"]) for row in rows]

    async def rules_revision(self) -> int:
        """Return the number of the rule set."""
        with outages("reading the rules' revision"):
            return int(await self._pool.fetchval("SELECT revision FROM rules"))

    async def snapshot(self) -> Snapshot:
        """Return everything that the rules depend on, as of one moment."""
        with outages("reading the rules"):
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                revision = await connection.fetchval("SELECT revision FROM rules")
                live = await connection.fetch(_LIVE_BODIES, _LIVE)
                ended = await connection.fetch(
                    "SELECT body FROM experiments WHERE state = ANY($1)"
                    " ORDER BY updated_at_ms DESC, experiment_id LIMIT $2",
                    _ENDED,
                    MAX_ENDED,
                )
                models = await connection.fetch("SELECT body FROM models ORDER BY model")
        return Snapshot(
            int(revision),
            tuple(Experiment.model_validate_json(row["body"]) for row in live),
            tuple(Experiment.model_validate_json(row["body"]) for row in ended),
            tuple(ModelRecord.model_validate_json(row["body"]) for row in models),
        )

    async def _write(self, connection: Connection, change: Change) -> None:
        await _write_experiment(connection, change)
        await connection.execute(
            "INSERT INTO history (experiment_id, revision, verdict_id, body) VALUES ($1, $2, $3, $4)",
            change.experiment.experiment_id,
            change.experiment.revision,
            change.verdict_id,
            change.experiment.to_json().decode(),
        )
        if change.model is not None:
            await _write_model(connection, change.model)
        await _write_log(connection, change.quarantine)
        for message in messages_of(change, self._clock):
            await enqueue(connection, message)


async def _raise_revision(connection: Connection) -> int:
    # The first statement of every write: writers queue up here, so that they meet no deadlock later, and the
    # number that comes back is that of the write before, whatever else was under way.
    return int(await connection.fetchval("UPDATE rules SET revision = revision + 1 RETURNING revision"))


async def _write_log(connection: Connection, log: Sequence[QuarantineEntry]) -> None:
    await connection.executemany(
        "INSERT INTO quarantine_log (model, version, act, by, reason, occurred_at_ms)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        [(each.model, each.version, each.act, each.by, each.reason, each.occurred_at_ms) for each in log],
    )


async def _write_experiment(connection: Connection, change: Change) -> None:
    experiment = change.experiment
    trial = experiment.kind is ExperimentKind.CHAMPION_CHALLENGER
    written = await connection.fetchval(
        _INSERT if experiment.revision == 1 else _UPDATE,
        experiment.experiment_id,
        experiment.revision,
        experiment.state,
        experiment.model if trial else None,
        experiment.updated_at_ms,
        experiment.to_json().decode(),
        experiment.remembers_since,
    )
    if written is None:
        raise Conflict(f"{experiment.experiment_id} has changed meanwhile", next_step="read it again")


async def _write_model(connection: Connection, record: ModelRecord) -> None:
    written = await connection.fetchval(
        "INSERT INTO models AS m (model, row_revision, body) VALUES ($1, $2, $3)"
        " ON CONFLICT (model) DO UPDATE SET row_revision = $2, body = $3 WHERE m.row_revision = $2 - 1"
        " RETURNING row_revision",
        record.model,
        record.row_revision,
        record.to_json().decode(),
    )
    if written is None:
        raise Conflict(f"what is known of {record.model} has changed meanwhile", next_step="read it again")
