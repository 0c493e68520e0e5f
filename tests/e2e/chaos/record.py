"""What ingest leaves in PostgreSQL, seen from outside: who holds what, how far it is, and every write so far.

A trigger takes down each write to the leases as it commits: unlike samples, that misses none.
"""

import json
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

from libs.common.bus.ports import TopicPartition
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool
from services.metrics.bootstrap.ground import MIGRATIONS, SCHEMA
from tests.e2e.chaos.world import QUANTILE, Stream

WITNESS = Path(__file__).with_name("witness.sql")
_OWNERS = "SELECT partition, split_part(owner, '/', 2)::int AS pid FROM partition_leases"
_HISTORY = "SELECT partition, epoch, owner, offsets FROM witness.leases ORDER BY number"
_SUMS = {
    "experiments": """
        SELECT experiment_id, sum(multi_variant_units), max(latest_ms)
        FROM partition_experiments GROUP BY 1""",
    "variants": """
        SELECT experiment_id, variant, sum(units), sum(exposures), sum(conversions), max(last_exposed_ms),
            sum(late_units)
        FROM partition_variants GROUP BY 1, 2""",
    "metrics": """
        SELECT experiment_id, variant, metric, sum(units), sum(converted_units), sum(total),
            sum(total_squares), sum(covariate_total), sum(covariate_squares), sum(cross_total)
        FROM partition_metrics GROUP BY 1, 2, 3""",
    "sketches": """
        SELECT experiment_id, variant, metric, key, sum(value::bigint)
        FROM partition_metrics, jsonb_each_text(sketch) GROUP BY 1, 2, 3, 4""",
    "hours": """
        SELECT experiment_id, variant, hour_ms::text, sum(units), sum(exposures), sum(conversions)
        FROM partition_hours GROUP BY 1, 2, 3""",
    "segments": """
        SELECT experiment_id, variant, attribute, kind, value, metric, sum(units), sum(converted_units),
            sum(total), sum(total_squares)
        FROM partition_segments GROUP BY 1, 2, 3, 4, 5, 6""",
}

Sums: TypeAlias = Mapping[tuple[str, ...], tuple[int, ...]]
"""By table and the words of a row: its numbers, over all partitions. Rows of zeros alone are left out."""


class Written(NamedTuple):
    """A lease as one transaction left it."""

    partition: int
    epoch: int
    owner: str
    offsets: Mapping[str, int]


class Record:
    """Metrics' tables, through a pool on their schema."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def prepare(self) -> None:
        """Make the tables before any worker does, and set the witness beside them."""
        await migrate(self._pool, SCHEMA, MIGRATIONS)
        await self._pool.execute(WITNESS.read_text())

    async def owners(self) -> dict[int, int]:
        """Return the process that holds each partition that was ever held."""
        return {row["partition"]: row["pid"] for row in await self._pool.fetch(_OWNERS)}

    async def covered(self) -> dict[TopicPartition, int]:
        """Return what is published: the next offset of each partition, of those with any."""
        rows = await self._pool.fetch("SELECT partition, published_offsets FROM partition_leases")
        return {
            TopicPartition(topic, partition): offset
            for partition, offsets in rows
            for topic, offset in json.loads(offsets).items()
            if offset
        }

    async def sums(self) -> Sums:
        """Return every published number, over the partitions: of times the latest, the sum of all others."""
        found: dict[tuple[str, ...], tuple[int, ...]] = {}
        for table, statement in _SUMS.items():
            for row in await self._pool.fetch(statement):
                words = tuple(each for each in row if isinstance(each, str))
                numbers = tuple(int(each) for each in row if not isinstance(each, str))
                if any(numbers):
                    found[(table, *words)] = numbers
        return found

    async def history(self) -> list[Written]:
        """Return every write to the leases since `prepare`, those of a partition in their order."""
        rows = await self._pool.fetch(_HISTORY)
        return [Written(number, epoch, owner, json.loads(offsets)) for number, epoch, owner, offsets in rows]

    async def falls(self) -> int:
        """Return how often a published count of exposures fell: it only ever grows."""
        count: int = await self._pool.fetchval("SELECT count(*) FROM witness.falls")
        return count

    async def snapshots(self) -> int:
        """Return how many snapshots were taken."""
        statement = "SELECT sum(number)::bigint FROM (SELECT max(number) AS number FROM partition_snapshots"
        count: int | None = await self._pool.fetchval(f"{statement} GROUP BY partition) AS numbers")
        return count or 0


def broken_laws(history: list[Written]) -> list[str]:
    """Return where an epoch fell or had two owners, or a published offset went back; empty: nowhere."""
    found = []
    for partition in {each.partition for each in history}:
        for before, after in pairwise([each for each in history if each.partition == partition]):
            offsets = [(offset, after.offsets.get(topic, 0)) for topic, offset in before.offsets.items()]
            if after.epoch < before.epoch:
                found.append(f"the epoch fell: {before} then {after}")
            if after.epoch == before.epoch and after.owner != before.owner:
                found.append(f"two owners in one epoch: {before} then {after}")
            if any(later < earlier for earlier, later in offsets):
                found.append(f"an offset went back: {before} then {after}")
    return found


def truth_as_sums(stream: Stream) -> Sums:
    """Return what the sender knows at the places of `Record.sums`: counts, and sums without a covariate."""
    found: dict[tuple[str, ...], tuple[int, ...]] = {}
    exposed = stream.exposed()
    for key, each in stream.truth().items():
        found["experiments", key] = (each.multi_variant_units, each.latest_ms)
        for variant, counts in each.counts.items():
            found["variants", key, variant] = (*counts, *exposed[key, variant])
        for (variant, metric), expected in each.metrics.items():
            found["metrics", key, variant, metric] = (*expected, 0, 0, 0)
    return found


def units_in_sketches(sums: Sums) -> Counter[tuple[str, str, str]]:
    """Return how many units are in the bins, by experiment, variant and metric."""
    found: Counter[tuple[str, str, str]] = Counter()
    for (table, *words), numbers in sums.items():
        if table == "sketches":
            key, variant, metric, _ = words
            found[key, variant, metric] += numbers[0]
    return found


def converted_in_sketches(sums: Sums) -> Counter[tuple[str, str, str]]:
    """Return how many units must be there: those that converted, of the quantiles."""
    found: Counter[tuple[str, str, str]] = Counter()
    for (table, *words), numbers in sums.items():
        if table == "metrics" and words[-1] == QUANTILE:
            key, variant, metric = words
            found[key, variant, metric] = numbers[1]
    return found
