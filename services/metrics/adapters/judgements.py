"""The judge's record in PostgreSQL: definitions, what it judged, its memory, and the outbox."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libs.common.bus.control import control_message
from libs.common.clock import Clock
from libs.common.db.outbox import enqueue
from libs.common.db.pool import Connection, Pool, outages
from libs.common.telemetry.names import ALERTS, VERDICTS, collector
from schemas.experiments import Experiment
from services.metrics.adapters.totals import read_totals
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.leaks import awaits_verification
from services.metrics.domain.memory import memory_from_json, memory_to_json

SOURCE = "metrics"

_KEEP = """
INSERT INTO experiments AS old (experiment_id, revision, record, awaits_verification) VALUES ($1, $2, $3, $4)
ON CONFLICT (experiment_id) DO UPDATE SET revision = excluded.revision, record = excluded.record,
    awaits_verification = excluded.awaits_verification
WHERE old.revision < excluded.revision
"""
_DUE = """
SELECT e.experiment_id
FROM experiments e
LEFT JOIN (SELECT experiment_id, sum(version) AS version FROM partition_experiments GROUP BY 1) p
    USING (experiment_id)
LEFT JOIN judgements j USING (experiment_id)
WHERE (j.experiment_id IS NULL AND (p.version IS NOT NULL OR e.awaits_verification))
    OR (j.judged_at_ms <= $1 AND (
        (p.version IS NOT NULL AND j.version <> p.version)
        OR j.revision <> e.revision
        OR j.again_at_ms <= $3
    ))
ORDER BY coalesce(j.judged_at_ms, 0), e.experiment_id
LIMIT $2
"""
_CLAIM = "INSERT INTO judgements (experiment_id) VALUES ($1) ON CONFLICT DO NOTHING"
_MEMORY = "SELECT revision, version, again_at_ms, memory FROM judgements WHERE experiment_id = $1 FOR UPDATE"
_STATE = """
SELECT e.record, e.revision, p.version, p.latest_ms, p.multi_variant_units
FROM experiments e, (
    SELECT coalesce(sum(version)::bigint, 0) AS version, coalesce(max(latest_ms), 0) AS latest_ms,
        coalesce(sum(multi_variant_units)::bigint, 0) AS multi_variant_units
    FROM partition_experiments WHERE experiment_id = $1
) p
WHERE e.experiment_id = $1
"""
_SETTLE = """
UPDATE judgements SET revision = $2, version = $3, judged_at_ms = $4, memory = $5, again_at_ms = $6
WHERE experiment_id = $1
"""


@dataclass(frozen=True, slots=True)
class _Found:
    """A case, and by what it is known whether another judge has had it."""

    case: Case
    version: int


class PostgresJudgements:
    """Keeps the promises of `ports.DefinitionStore` and `ports.CaseStore`."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def keep(self, experiment: Experiment) -> None:
        """Remember a definition unless one with the same or a higher revision is known."""
        record = experiment.to_json().decode()
        with outages("keeping an experiment's definition"):
            await self._pool.execute(
                _KEEP, experiment.experiment_id, experiment.revision, record, awaits_verification(experiment)
            )

    async def due(self, *, judged_before_ms: int, limit: int) -> Sequence[str]:
        """Return experiments about which something is new, those that wait longest first."""
        with outages("looking for experiments to judge"):
            rows = await self._pool.fetch(_DUE, judged_before_ms, limit, self._clock.now_ms())
        return [row["experiment_id"] for row in rows]

    async def settle(self, experiment_id: str, decide: Callable[[Case], Judgement]) -> None:
        """Decide and write, in one transaction.

        Repeatable read: sums and offsets are of one moment, and of two judges one fails with Retryable.
        """
        with outages(f"judging {experiment_id}"):
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read"),
            ):
                found = await _find(connection, experiment_id, self._clock.now_ms())
                if found is None:
                    return
                # In a thread: hundreds of comparisons must not hold up the loop's heartbeats.
                judgement = await asyncio.to_thread(decide, found.case)
                await self._write(connection, found, judgement)
        _count(judgement)

    async def _write(self, connection: Connection, found: _Found, judgement: Judgement) -> None:
        experiment = found.case.experiment
        key = experiment.experiment_id
        await connection.execute(
            _SETTLE,
            key,
            experiment.revision,
            found.version,
            judgement.judged_at_ms,
            memory_to_json(judgement.memory),
            judgement.again_at_ms,
        )
        # Always in this order, so that two transactions never wait for one another's keys.
        for alert in judgement.alerts:
            await enqueue(connection, control_message("alerts", key, alert, source=SOURCE, clock=self._clock))
        if judgement.result is not None:
            await enqueue(
                connection,
                control_message("results", key, judgement.result, source=SOURCE, clock=self._clock),
            )
        if judgement.verdict is not None:
            await enqueue(
                connection,
                control_message("verdicts", key, judgement.verdict, source=SOURCE, clock=self._clock),
            )


def _count(judgement: Judgement) -> None:
    if judgement.verdict is not None:
        collector(VERDICTS).labels(kind=judgement.verdict.kind).inc()
    for alert in judgement.alerts:
        collector(ALERTS).labels(severity=alert.severity, state=alert.state).inc()


async def _find(connection: Connection, experiment_id: str, now_ms: int) -> _Found | None:
    """Return the case, locked; None when it is gone or was judged in this very state already, unless it is
    to be judged again by now."""
    await connection.execute(_CLAIM, experiment_id)
    judged = await connection.fetchrow(_MEMORY, experiment_id)
    state = await connection.fetchrow(_STATE, experiment_id)
    if judged is None or state is None:
        return None
    fresh = (judged["revision"], judged["version"]) != (state["revision"], state["version"])
    if not fresh and (judged["again_at_ms"] is None or judged["again_at_ms"] > now_ms):
        return None
    experiment = Experiment.model_validate_json(state["record"])
    totals = await read_totals(
        connection,
        experiment,
        multi_variant_units=state["multi_variant_units"],
        latest_ms=state["latest_ms"],
    )
    fresh &= state["version"] > 0
    return _Found(Case(experiment, totals, memory_from_json(judged["memory"]), fresh), state["version"])
