"""The judge's record in PostgreSQL."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from libs.common.bus.ports import Message
from libs.common.db.outbox import enqueue
from libs.common.db.pool import Connection, Pool, outages
from schemas.versions import ModelState
from services.drift.adapters.rows import unpack_body
from services.drift.adapters.told import count_told
from services.drift.domain.journal import Journal
from services.drift.domain.rows import Progress, Tally, VersionKey, VersionTotal, WindowBody

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '/judge', 0))"
_TOTALS = """
SELECT model, version, sum(predictions)::bigint AS predictions, sum(labelled)::bigint AS labelled
FROM totals GROUP BY model, version
"""
_TALLIES = """
SELECT model, version, start_ms, sum(predictions)::bigint AS predictions,
    sum(real_valued)::bigint AS real_valued, sum(labelled)::bigint AS labelled,
    sum(correct)::bigint AS correct
FROM windows GROUP BY model, version, start_ms ORDER BY model, version, start_ms
"""
_BODIES = """
SELECT body FROM windows WHERE model = $1 AND version = $2 AND start_ms = ANY($3::bigint[])
ORDER BY start_ms, partition
"""
_JOURNALS = """
SELECT body FROM journals WHERE (model, version) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""
_SAVE = """
INSERT INTO journals (model, version, body) VALUES ($1, $2, $3)
ON CONFLICT (model, version) DO UPDATE SET body = excluded.body
"""
_LEARN = """
INSERT INTO models AS known (model, revision, state) VALUES ($1, $2, $3)
ON CONFLICT (model) DO UPDATE SET revision = excluded.revision, state = excluded.state
WHERE known.revision <= excluded.revision
"""


class PostgresLedger:
    """Keeps the promises of `ports.Ledger`; rounds are kept apart by an advisory lock."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["PostgresDesk"]:
        """Open the record for one judge at a time. Raises Retryable when PostgreSQL does not answer."""
        with outages("judging"):
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_LOCK)
                desk = PostgresDesk(connection)
                yield desk
        count_told(desk.told)

    async def learn(self, state: ModelState) -> None:
        """Keep a model's state, unless a later revision is known."""
        with outages("learning of a model"):
            await self._pool.execute(_LEARN, state.model, state.revision, state.model_dump_json())


class PostgresDesk:
    """Keeps the promises of `ports.Desk` on a connection in a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.told: list[Message] = []
        """What is in the outbox once the transaction is committed."""

    async def progress(self) -> Mapping[int, Progress]:
        """Return how far each partition has come."""
        rows = await self._connection.fetch(
            "SELECT partition, watermark_ms, left_out, feedback_ms FROM progress"
        )
        return {
            row["partition"]: Progress(row["watermark_ms"], json.loads(row["left_out"]), row["feedback_ms"])
            for row in rows
        }

    async def offsets(self) -> Mapping[str, int]:
        """Return the offsets that the partitions' rows cover."""
        rows = await self._connection.fetch(
            "SELECT partition, published_offsets FROM partition_leases ORDER BY partition"
        )
        return {
            f"{topic}-{row['partition']}": offset
            for row in rows
            for topic, offset in sorted(json.loads(row["published_offsets"]).items())
        }

    async def models(self) -> Mapping[str, ModelState]:
        """Return the latest state of each registered model."""
        rows = await self._connection.fetch("SELECT model, state FROM models")
        return {row["model"]: ModelState.model_validate_json(row["state"]) for row in rows}

    async def totals(self) -> Sequence[VersionTotal]:
        """Return what was ever counted of each version."""
        rows = await self._connection.fetch(_TOTALS)
        return [
            VersionTotal(VersionKey(row["model"], row["version"]), row["predictions"], row["labelled"])
            for row in rows
        ]

    async def tallies(self) -> Mapping[VersionKey, Sequence[Tally]]:
        """Return the kept windows of each version in order of time."""
        tallies: dict[VersionKey, list[Tally]] = defaultdict(list)
        for row in await self._connection.fetch(_TALLIES):
            tally = Tally(
                row["start_ms"], row["predictions"], row["real_valued"], row["labelled"], row["correct"]
            )
            tallies[VersionKey(row["model"], row["version"])].append(tally)
        return tallies

    async def bodies(self, key: VersionKey, starts_ms: Sequence[int]) -> Sequence[WindowBody]:
        """Return what all partitions know of these windows."""
        rows = await self._connection.fetch(_BODIES, *key, list(starts_ms))
        return [unpack_body(row["body"]) for row in rows]

    async def journals(self, keys: Sequence[VersionKey]) -> Mapping[VersionKey, Journal]:
        """Return the journals of these versions, where there are any."""
        models, versions = [each.model for each in keys], [each.version for each in keys]
        rows = await self._connection.fetch(_JOURNALS, models, versions)
        journals = [msgspec.json.decode(row["body"], type=Journal) for row in rows]
        return {each.key: each for each in journals}

    async def save(self, journal: Journal) -> None:
        """Replace a version's journal."""
        await self._connection.execute(_SAVE, *journal.key, msgspec.json.encode(journal).decode())

    async def prune(self, key: VersionKey, before_ms: int) -> None:
        """Delete the version's windows that start before."""
        await self._connection.execute(
            "DELETE FROM windows WHERE model = $1 AND version = $2 AND start_ms < $3", *key, before_ms
        )

    async def enqueue(self, message: Message) -> None:
        """Add a message to the outbox."""
        await enqueue(self._connection, message)
        self.told.append(message)
