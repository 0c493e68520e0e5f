"""The record in PostgreSQL: schema `retrainer`, events through the outbox."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asyncpg import Record

from libs.common.bus.control import control_message
from libs.common.clock import Clock
from libs.common.db.outbox import enqueue
from libs.common.db.pool import Connection, Pool, outages
from libs.common.telemetry.names import ALERTS, CANDIDATES, RETRAININGS, collector
from schemas.event import Contract
from schemas.health import Alert, AlertState
from schemas.versions import ModelState, ModelVersion, Registration, Retraining, RetrainingState
from services.retrainer.domain.runs import OPEN, TRAINED, Run
from services.retrainer.domain.versions import VersionChange

SCHEMA = SOURCE = "retrainer"
REMEMBERED = "400 days"
"""Longer than any fact stays on the bus, so that a repetition is known whenever it comes."""

_RUN = "event, created_at_ms, why, due_at_ms, attempts, until_ms, champion"
_OPEN = sorted(state.value for state in OPEN)
_TRAINED = sorted(state.value for state in TRAINED)


class PostgresStore:
    """Keeps ports.Store's promises. Takes up to three connections for duties and transactions."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    @asynccontextmanager
    async def transaction(self, model: str) -> AsyncIterator["PostgresTransaction"]:
        """Open a transaction on one model; others wait for it. An error inside undoes everything."""
        with outages("the record of retrainer"):
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{SCHEMA}/model/{model}"
                )
                transaction = PostgresTransaction(connection, model, self._clock)
                yield transaction
        _count(transaction.published)

    async def due_runs(self, now_ms: int) -> Sequence[Run]:
        """Return the retrainings that are under way and due, the longest waiting first."""
        with outages("due retrainings"):
            rows = await self._pool.fetch(
                f"SELECT {_RUN} FROM runs WHERE state = ANY($1) AND due_at_ms <= $2 ORDER BY due_at_ms",  # noqa: S608
                _OPEN,
                now_ms,
            )
        return [_run(row) for row in rows]

    async def registrations(self) -> Sequence[Registration]:
        """Return the queue of requests to register, in the order in which they came."""
        with outages("registrations"):
            rows = await self._pool.fetch("SELECT body FROM registrations ORDER BY id LIMIT 100")
        return [Registration.model_validate_json(row[0]) for row in rows]

    async def unaliased(self) -> Sequence[ModelState]:
        """Return the models whose aliases in the registry are older than their state."""
        with outages("aliases"):
            rows = await self._pool.fetch("SELECT state FROM models WHERE aliased_revision < revision")
        return [ModelState.model_validate_json(row[0]) for row in rows]

    async def aliased(self, model: str, revision: int) -> None:
        """Note that the aliases are those of this revision."""
        with outages("aliases"):
            await self._pool.execute(
                "UPDATE models SET aliased_revision = greatest(aliased_revision, $2) WHERE model = $1",
                model,
                revision,
            )

    async def forget(self) -> None:
        """Drop the memory of events that no longer can be repeated."""
        with outages("forgetting"):
            await self._pool.execute(
                "DELETE FROM heard WHERE heard_at < now() - $1::text::interval", REMEMBERED
            )

    @asynccontextmanager
    async def leading(self, duty: str) -> AsyncIterator["PostgresLead"]:
        """Try to be the only process with this duty: a lock that ends with its connection."""
        with outages(f"the duty {duty}"):
            async with self._pool.acquire() as connection:
                # A machine that vanishes must not keep its duty for the two hours that TCP would.
                await connection.execute("SET tcp_keepalives_idle = 10")
                await connection.execute("SET tcp_keepalives_interval = 5")
                yield PostgresLead(connection, f"{SCHEMA}/duty/{duty}")


class PostgresLead:
    """The claim to a duty: a lock of the session, given back by the pool."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._held = False

    async def held(self) -> bool:
        """Return True while this process alone has the duty. Raises Retryable when the connection is lost."""
        with outages(self._name):
            if self._held:
                await self._connection.execute("SELECT 1")
            else:
                self._held = await self._connection.fetchval(
                    "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", self._name
                )
        return self._held


class PostgresTransaction:
    """Keeps ports.Transaction's promises."""

    def __init__(self, connection: Connection, model: str, clock: Clock) -> None:
        self._connection = connection
        self._model = model
        self._clock = clock
        self.published: list[Contract] = []

    async def first_time(self, kind: str, event_id: str) -> bool:
        """Return True the first time that this event is heard, and remember it."""
        status = await self._connection.execute(
            "INSERT INTO heard (kind, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING", kind, event_id
        )
        return bool(status == "INSERT 0 1")

    async def model(self) -> ModelState | None:
        """Return who is in charge; None when nothing is registered."""
        text = await self._connection.fetchval("SELECT state FROM models WHERE model = $1", self._model)
        return None if text is None else ModelState.model_validate_json(text)

    async def version(self, version: str) -> ModelVersion | None:
        """Return what was last known of a version; None when it never had a role."""
        text = await self._connection.fetchval(
            "SELECT body FROM versions_log WHERE model = $1 AND version = $2 AND body IS NOT NULL"
            " ORDER BY id DESC LIMIT 1",
            self._model,
            version,
        )
        return None if text is None else ModelVersion.model_validate_json(text)

    async def save_model(self, state: ModelState, changes: Sequence[VersionChange]) -> None:
        """Replace the state, append to the log of versions, and publish the state."""
        await self._connection.execute(
            "INSERT INTO models (model, state, revision) VALUES ($1, $2, $3)"
            " ON CONFLICT (model) DO UPDATE SET state = excluded.state, revision = excluded.revision",
            self._model,
            state.model_dump_json(),
            state.revision,
        )
        await self._connection.executemany(
            "INSERT INTO versions_log (model, version, became, revision, at_ms, reason, body)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [
                (
                    self._model,
                    each.version,
                    each.became,
                    state.revision,
                    state.updated_at_ms,
                    state.reason,
                    None if each.body is None else each.body.model_dump_json(),
                )
                for each in changes
            ],
        )
        await self.publish("models", state)

    async def run(self, retraining_id: str) -> Run | None:
        """Return a retraining."""
        row = await self._connection.fetchrow(
            f"SELECT {_RUN} FROM runs WHERE retraining_id = $1",  # noqa: S608
            retraining_id,
        )
        return None if row is None else _run(row)

    async def open_run(self) -> Run | None:
        """Return the one that is under way."""
        row = await self._connection.fetchrow(
            f"SELECT {_RUN} FROM runs WHERE model = $1 AND state = ANY($2)",  # noqa: S608
            self._model,
            _OPEN,
        )
        return None if row is None else _run(row)

    async def last_trained_at_ms(self) -> int | None:
        """Return when the last retraining ended that went as far as training."""
        last: int | None = await self._connection.fetchval(
            "SELECT max(changed_at_ms) FROM runs WHERE model = $1 AND state = ANY($2)", self._model, _TRAINED
        )
        return last

    async def save_run(self, run: Run) -> None:
        """Keep a retraining, new or changed."""
        await self._connection.execute(
            "INSERT INTO runs VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
            " ON CONFLICT (retraining_id) DO UPDATE SET state = excluded.state, event = excluded.event,"
            " changed_at_ms = excluded.changed_at_ms,"
            " due_at_ms = excluded.due_at_ms, attempts = excluded.attempts, until_ms = excluded.until_ms",
            run.id,
            run.model,
            run.state.value,
            run.event.model_dump_json(),
            run.created_at_ms,
            run.event.occurred_at_ms,
            run.why,
            run.due_at_ms,
            run.attempts,
            run.until_ms,
            run.champion,
        )

    async def add_registration(self, registration: Registration) -> None:
        """Put a request to register into the queue."""
        await self._connection.execute(
            "INSERT INTO registrations (registration_id, body) VALUES ($1, $2)",
            registration.registration_id,
            registration.model_dump_json(),
        )

    async def remove_registration(self, registration_id: str) -> None:
        """Take it out of the queue."""
        await self._connection.execute(
            "DELETE FROM registrations WHERE registration_id = $1", registration_id
        )

    async def open_alert(self, cause: str) -> Alert | None:
        """Return the open episode of this cause."""
        text = await self._connection.fetchval(
            "SELECT body FROM alerts WHERE model = $1 AND cause = $2", self._model, cause
        )
        return None if text is None else Alert.model_validate_json(text)

    async def save_alert(self, alert: Alert) -> None:
        """Keep and publish an episode; a resolved one is forgotten here."""
        if alert.state is AlertState.RESOLVED:
            await self._connection.execute(
                "DELETE FROM alerts WHERE model = $1 AND cause = $2", self._model, alert.cause
            )
        else:
            await self._connection.execute(
                "INSERT INTO alerts VALUES ($1, $2, $3)"
                " ON CONFLICT (model, cause) DO UPDATE SET body = excluded.body",
                self._model,
                alert.cause,
                alert.model_dump_json(),
            )
        await self.publish("alerts", alert)

    async def publish(self, topic: str, event: Contract) -> None:
        """Send an event with the model as key, if and only if all of this is committed."""
        message = control_message(topic, self._model, event, source=SOURCE, clock=self._clock)
        await enqueue(self._connection, message)
        self.published.append(event)


def _count(published: Sequence[Contract]) -> None:
    for event in published:
        match event:
            case Retraining():
                collector(RETRAININGS).labels(state=event.state.value).inc()
                if event.state is RetrainingState.REGISTERED:
                    collector(CANDIDATES).inc()
            case Alert():
                collector(ALERTS).labels(severity=event.severity.value, state=event.state.value).inc()
            case _:
                pass


def _run(row: Record) -> Run:
    event, *rest = row
    return Run(Retraining.model_validate_json(event), *rest)
