"""The longest stop of ingest while it takes snapshots of a million units under load: of its event loop, and
of the line, which may wait though the loop is free."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measures.figures import Figure, quantile
from benchmarks.measures.ground import Ground
from benchmarks.measures.leases import Database, database, read_snapshots
from benchmarks.measures.million import caught_up, epochs, million
from benchmarks.measures.probe import LEAST_MS, VARIABLE, publishes_beside, turns_beside
from benchmarks.measures.traffic import RATE, again, ticks

SECONDS = 60
SHORTEST_S = 20
INTERVAL_MS = 10_000
"""Between two snapshots of a partition; the default is 30 s."""
LIMIT_MS = 200


class Stop(NamedTuple):
    """What the probe noted: when, how late it was woken, and the processor time of its thread in that."""

    at_ms: int
    late_ms: float
    busy_ms: float


async def measure(ground: Ground) -> list[Figure]:
    """Run ingest with a probe beside it, and look at what it noted while the load came."""
    base = await million(ground)
    file = ground.logs / "pauses.jsonl"
    settings = {VARIABLE: str(file), "METRICS_SNAPSHOT_INTERVAL_MS": str(INTERVAL_MS)}
    load = list(ticks(again(max(SECONDS * ground.scale, SHORTEST_S), ground.day_ms)))
    async with database(base.site.database_url) as connection:
        leases = await epochs(connection)
        with base.site.runs("benchmarks.measures.probe", settings=settings) as ingest:
            await caught_up(connection, base, ingest, leases)
            before, since_ms = await _taken(connection), ground.clock.now_ms()
            await base.out.pace(load)
            await caught_up(connection, base, ingest, leases)
            taken, until_ms = await _taken(connection) - before, ground.clock.now_ms()
    noted = _noted(file)
    stops = [each for each in noted if since_ms <= each.at_ms <= until_ms]
    starting = max((each.late_ms for each in noted if each.at_ms < since_ms), default=0.0)
    turns = _between(turns_beside(file), since_ms, until_ms)
    publishes = _between(publishes_beside(file), since_ms, until_ms)
    return [
        *_figures(stops, base.units, taken, (until_ms - since_ms) / 1_000),
        Figure(
            f"longest that the line was away from the log meanwhile ({len(turns):,} turns)",
            f"{max(turns):.0f} ms (p99 {quantile(turns, 0.99):.0f})",
            f"at most {LIMIT_MS} ms",
            max(turns) <= LIMIT_MS,
        ),
        Figure(
            f"- longest publish of a partition beside it ({len(publishes):,} publishes)",
            f"{max(publishes):.0f} ms (p99 {quantile(publishes, 0.99):.0f})",
        ),
        Figure("- longest before, while the process started from its snapshots", f"{starting:.0f} ms"),
    ]


async def _taken(connection: Database) -> int:
    """Return how many snapshots were taken so far, all partitions together."""
    return sum(each.number for each in await read_snapshots(connection))


def _between(file: Path, since_ms: int, until_ms: int) -> list[float]:
    """Return the milliseconds of what ended in this time."""
    noted = [json.loads(line) for line in file.read_text().splitlines()]
    return [took_ms for at_ms, took_ms in noted if since_ms <= at_ms <= until_ms]


def _noted(file: Path) -> list[Stop]:
    return [Stop(*json.loads(line)) for line in file.read_text().splitlines()]


def _figures(stops: Sequence[Stop], units: int, taken: int, seconds: float) -> list[Figure]:
    late = [each.late_ms for each in stops] or [0.0]
    longest = max(late)
    return [
        Figure(
            f"longest stop of the event loop ({taken} snapshots of {units:,} units in {seconds:.0f} s, "
            f"{RATE:,} events/s)",
            f"{longest:.0f} ms",
            f"at most {LIMIT_MS} ms",
            longest <= LIMIT_MS,
        ),
        Figure(
            f"- stops of {LEAST_MS} ms and more",
            f"{len(stops)}, half of them up to {quantile(late, 0.5):.0f} ms, "
            f"{sum(late) / (seconds * 10):.1f} % of the time",
        ),
        Figure(
            "- longest by the processor time of the loop's own thread in it",
            f"{max((each.busy_ms for each in stops), default=0.0):.0f} ms",
        ),
    ]
