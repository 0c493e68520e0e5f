"""Sticky units in PostgreSQL, and a cache in front."""

from collections import OrderedDict
from collections.abc import Mapping

from libs.common.db.outages import outages
from libs.common.db.pool import Pool
from services.assignment.domain.life import ENDED
from services.assignment.ports import Given, StickyUnits

_RECALL = """
    SELECT s.experiment_id, s.variant, s.revision
    FROM unnest($2::text[], $3::bigint[]) AS wanted (experiment_id, since)
    JOIN sticky_units s ON s.experiment_id = wanted.experiment_id AND s.unit_id = $1
    WHERE s.revision >= wanted.since
"""
# An update that changes nothing, where somebody was faster: only so does RETURNING tell what they wrote.
_REMEMBER = """
    INSERT INTO sticky_units AS s (experiment_id, unit_id, variant, revision) VALUES ($1, $2, $3, $4)
    ON CONFLICT (experiment_id, unit_id) DO UPDATE SET
        variant = CASE WHEN s.revision < $5 THEN $3 ELSE s.variant END,
        revision = CASE WHEN s.revision < $5 THEN $4 ELSE s.revision END
    RETURNING variant, revision
"""
# A running experiment's row tells that it runs before a unit of it is remembered: none is lost by mistake.
# Nor is one that is remembered anew meanwhile: a row found by its place is deleted whatever has become
# of it, so that it is locked as it was found.
_FORGET = """
    DELETE FROM sticky_units WHERE ctid = ANY (ARRAY (
        SELECT lost.ctid
        FROM experiments e CROSS JOIN LATERAL (
            SELECT s.ctid FROM sticky_units s
            WHERE s.experiment_id = e.experiment_id AND s.revision < CASE
                WHEN e.state = ANY ($1) THEN 9223372036854775807 ELSE e.remembers_since END
            LIMIT $2 FOR UPDATE SKIP LOCKED
        ) lost
        LIMIT $2
    ))
"""


class PostgresSticky:
    """Keeps the promises of `ports.StickyUnits` in the schema `assignment`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def recall(self, unit_id: str, since: Mapping[str, int]) -> Mapping[str, Given]:
        """Return what the unit was given."""
        with outages("recalling a unit"):
            rows = await self._pool.fetch(_RECALL, unit_id, list(since), list(since.values()))
        return {row["experiment_id"]: Given(row["variant"], row["revision"]) for row in rows}

    async def remember(self, experiment_id: str, unit_id: str, given: Given, *, since: int) -> Given:
        """Remember what a unit is given; the first wins."""
        with outages("remembering a unit"):
            (row,) = await self._pool.fetch(_REMEMBER, experiment_id, unit_id, *given, since)
        return Given(row["variant"], row["revision"])

    async def forget(self, *, limit: int) -> int:
        """Forget what no rule asks for any more."""
        with outages("forgetting units"):
            status: str = await self._pool.execute(_FORGET, sorted(ENDED), limit)
        return int(status.rpartition(" ")[2])


class CachedSticky:
    """Keeps the promises of `ports.StickyUnits`; asks `behind` only for units that it has not seen lately.

    It holds at most `max_units` pairs of experiment and unit; the least used go first.
    """

    def __init__(self, behind: StickyUnits, *, max_units: int) -> None:
        self._behind = behind
        self._max_units = max_units
        self._known: OrderedDict[tuple[str, str], Given] = OrderedDict()

    async def recall(self, unit_id: str, since: Mapping[str, int]) -> Mapping[str, Given]:
        """Return what the unit was given."""
        found: dict[str, Given] = {}
        unknown = {}
        for experiment_id, revision in since.items():
            given = self._known.get((experiment_id, unit_id))
            if given is not None and given.revision >= revision:
                self._known.move_to_end((experiment_id, unit_id))
                found[experiment_id] = given
            else:
                unknown[experiment_id] = revision
        if unknown:
            for experiment_id, given in (await self._behind.recall(unit_id, unknown)).items():
                found[experiment_id] = self._keep(experiment_id, unit_id, given)
        return found

    async def remember(self, experiment_id: str, unit_id: str, given: Given, *, since: int) -> Given:
        """Remember what a unit is given; the first wins."""
        first = await self._behind.remember(experiment_id, unit_id, given, since=since)
        return self._keep(experiment_id, unit_id, first)

    async def forget(self, *, limit: int) -> int:
        """Forget what no rule asks for any more; what is cached of it is never asked for either."""
        return await self._behind.forget(limit=limit)

    def _keep(self, experiment_id: str, unit_id: str, given: Given) -> Given:
        self._known[experiment_id, unit_id] = given
        self._known.move_to_end((experiment_id, unit_id))
        while len(self._known) > self._max_units:
            self._known.popitem(last=False)
        return given
