"""(b) Trimtab as shipped: `python -m services.metrics ingest` on a database of its own, watched from outside.

Nothing in the program is changed or asked: how far it is stands in PostgreSQL, where it publishes its
offsets and its results in one transaction. The clock stops when the results are visible, not when they are
folded.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.outcome import Outcome
from benchmarks.pinned import SAMPLE_S, TIMEOUT_S, Pinned, last_line, pinned
from benchmarks.world import EXPERIMENTS, METRIC, VARIANTS, Truth

SNAPSHOT_INTERVAL_MS = 5_000
"""As often as Flink's checkpoints here. The default is 30 s, longer than the run."""

_PROGRESS = (
    "SELECT published_at, acquired_at, published_offsets::text AS offsets FROM metrics.partition_leases"
)
_VARIANTS = """
SELECT experiment_id, variant, sum(units)::text AS units, sum(conversions)::text AS conversions
FROM metrics.partition_variants GROUP BY 1, 2
"""
_SUMS = """
SELECT experiment_id, variant, sum(total)::text AS total, sum(total_squares)::text AS squares
FROM metrics.partition_metrics WHERE metric = $1 GROUP BY 1, 2
"""
_SNAPSHOTS = """
SELECT max(number) FROM metrics.partition_snapshots
"""


@dataclass(frozen=True, slots=True)
class _Sample:
    at: datetime
    began: datetime
    events: int


async def run_shipped(
    command: list[str], environment: Mapping[str, str], *, core: int, log: Path, events: int
) -> Outcome:
    """Run it until everything is published; return its figures. `environment` names a server to make a
    database on, and the group to read with."""
    name = environment["METRICS_INGEST_GROUP"].replace("-", "_")
    url = await make_database(environment["DATABASE_URL"], name)
    told = {
        **environment,
        "DATABASE_URL": url,
        "TELEMETRY_PORT": "0",
        "METRICS_SNAPSHOT_INTERVAL_MS": str(SNAPSHOT_INTERVAL_MS),
    }
    with pinned(command, told, core=core, log=log) as process:
        connection = await asyncpg.connect(url)
        try:
            samples = await _watch(connection, process, events)
            if not samples or samples[-1].events < events:
                seen = samples[-1].events if samples else 0
                return Outcome(why=f"published {seen} of {events} events: {last_line(log)}")
            result = await read_result(connection)
            newest = await connection.fetchval(_SNAPSHOTS)
        finally:
            await connection.close()
    return _outcome(samples, result, process.peak_mb, f"{newest} snapshots of a partition")


async def make_database(server: str, name: str) -> str:
    """Create a database on a server and return its URL."""
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


async def _watch(
    connection: "asyncpg.Connection[asyncpg.Record]", process: Pinned, events: int
) -> list[_Sample]:
    """Sample the progress until all is published, the program ends or the time is over."""
    samples: list[_Sample] = []
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while process.running and (not samples or samples[-1].events < events):
                await asyncio.sleep(SAMPLE_S)
                sample = await _progress(connection)
                if sample is not None and (not samples or sample.events > samples[-1].events):
                    samples.append(sample)
    except TimeoutError:
        pass
    return samples


async def _progress(connection: "asyncpg.Connection[asyncpg.Record]") -> _Sample | None:
    try:
        rows = await connection.fetch(_PROGRESS)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None  # it has not made its tables yet
    published = [row for row in rows if row["published_at"] is not None]
    if not published:
        return None
    return _Sample(
        at=max(row["published_at"] for row in published),
        began=max(row["acquired_at"] for row in rows),
        events=sum(sum(json.loads(row["offsets"]).values()) for row in rows),
    )


async def read_result(connection: "asyncpg.Connection[asyncpg.Record]") -> Truth:
    """Return what ingest has published of the job's experiments."""
    variants = {(row["experiment_id"], row["variant"]): row for row in await connection.fetch(_VARIANTS)}
    sums = {(row["experiment_id"], row["variant"]): row for row in await connection.fetch(_SUMS, METRIC)}
    result: Truth = {}
    for place in ((key, variant) for key in EXPERIMENTS for variant in VARIANTS):
        if place in variants and place in sums:
            counts, both = variants[place], sums[place]
            figures = counts["units"], counts["conversions"], both["total"], both["squares"]
            units, conversions, total, squares = (int(each) for each in figures)
            result["/".join(place)] = (units, conversions, total, squares)
    return result


def _outcome(samples: list[_Sample], result: Truth, peak_mb: float, note: str) -> Outcome:
    last = samples[-1]
    half = next(each for each in samples if 2 * each.events >= last.events)
    if half is last and len(samples) > 1:
        half = samples[-2]
    return Outcome(
        events=last.events,
        seconds=(last.at - last.began).total_seconds(),
        half_events=last.events - half.events,
        half_seconds=(last.at - half.at).total_seconds(),
        result=result,
        peak_mb=peak_mb,
        note=note,
    )
