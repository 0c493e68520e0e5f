"""One ingest worker against two on this machine, the second joining on the way.

The log lies ready. The second run begins like the first; then another worker joins the group, takes half of
the partitions and replays them from their snapshots. The rates compared are those of the same part of the
log: from the moment the second worker owns something to the end.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.log import prepare
from benchmarks.measures.figures import Figure, exactness
from benchmarks.measures.ground import ALL_CORES, Ground, Site
from benchmarks.measures.leases import Database, covers, database, read_leases
from benchmarks.measures.slices import slices, total
from benchmarks.measures.waits import reach
from benchmarks.measures.writer import Writer, writer
from benchmarks.outcome import differences
from benchmarks.pinned import Pinned
from benchmarks.shipped import SNAPSHOT_INTERVAL_MS, read_result
from benchmarks.world import Truth, definitions
from libs.common.clock import Clock

UNITS = 300_000
START_AT = 1 / 3
"""Of the log: when the second process is started. It owns its first partition near the half."""
DEADLINE_S = 900.0


class Sample(NamedTuple):
    """How far the workers are."""

    at_ms: float
    events: int
    """Published."""
    owners: int


@dataclass(eq=False)
class _Run:
    """One pass over the log."""

    connection: Database
    out: Writer
    clock: Clock
    samples: list[Sample] = field(default_factory=list)

    async def until(self, worker: Pinned, share: float) -> None:
        """Sample until this share of the log is published, and for the whole of it also covered."""

        async def done() -> bool:
            leases = await read_leases(self.connection)
            events = sum(sum(each.offsets.values()) for each in leases)
            owners = len({each.owner for each in leases})
            if leases:
                self.samples.append(Sample(self.clock.monotonic_ms(), events, owners))
            return events >= share * self.out.written and (share < 1 or covers(leases, self.out.ends))

        await reach(done, worker, what="the workers' results", deadline_s=DEADLINE_S)


async def measure(ground: Ground) -> list[Figure]:
    """Write the log, run one worker over it, then two, and compare."""
    with ground.stack("workers") as stack:
        await prepare(stack.kafka_bootstrap_servers, definitions(ground.day_ms))
        async with writer(stack.kafka_bootstrap_servers, ground.clock) as out:
            truths = []
            for each in slices(int(UNITS * ground.scale), ground.day_ms):
                await out.write(each.records)
                truths.append(each.truth)
            one, alone = await _pass(
                ground, await Site.make(stack, "workers_1", ground.logs), out, second=False
            )
            two, shared = await _pass(
                ground, await Site.make(stack, "workers_2", ground.logs), out, second=True
            )
    truth = total(truths)
    return [
        *_figures(one, two, out.written),
        exactness([*differences(truth, alone), *differences(truth, shared)]),
    ]


async def _pass(ground: Ground, site: Site, out: Writer, *, second: bool) -> tuple[list[Sample], Truth]:
    """Return how far the workers were when, and what was published at the end."""
    settings = {"METRICS_SNAPSHOT_INTERVAL_MS": str(SNAPSHOT_INTERVAL_MS)}
    async with database(site.database_url) as connection:
        run = _Run(connection, out, ground.clock)
        with ExitStack() as running:
            first = running.enter_context(site.runs("services.metrics", "ingest", settings=settings))
            if second:
                await run.until(first, START_AT)
                other = settings | {"WORKER_NAME": "ingest-1"}
                running.enter_context(site.runs("services.metrics", "ingest", settings=other))
            await run.until(first, 1.0)
        return run.samples, await read_result(connection)


def _figures(one: Sequence[Sample], two: Sequence[Sample], events: int) -> list[Figure]:
    joined = next((each for each in two if each.owners > 1), None)
    if joined is None:
        return [Figure("two workers to one", "the second came too late: a larger --scale", "", False)]
    begun = next(each for each in one if each.events >= joined.events)
    alone, together = _rate(begun, one[-1]), _rate(joined, two[-1])
    return [
        Figure(
            f"two workers to one ({len(ALL_CORES)} cores for them, broker and database; {events:,} events)",
            f"{together / alone:.2f} ({together:.0f} to {alone:.0f} k events/s from "
            f"{joined.events / events:.0%} of the log on, where the second joined)",
        ),
        Figure(
            "- from the first lease to the end",
            f"one {_seconds(one):.1f} s, two {_seconds(two):.1f} s",
        ),
    ]


def _rate(since: Sample, until: Sample) -> float:
    return (until.events - since.events) / max(until.at_ms - since.at_ms, 1)


def _seconds(samples: Sequence[Sample]) -> float:
    return (samples[-1].at_ms - samples[0].at_ms) / 1_000
