"""A million units that ingest has in its snapshots: made once, for the measurements that need them."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.log import prepare
from benchmarks.measures.ground import Ground, Site
from benchmarks.measures.leases import Database, Stored, covers, database, read_leases, read_snapshots
from benchmarks.measures.slices import slices
from benchmarks.measures.waits import reach
from benchmarks.measures.writer import Writer, writer
from benchmarks.pinned import Pinned
from benchmarks.world import definitions

UNITS = 1_000_000
SNAPSHOT_INTERVAL_MS = 15_000
DEADLINE_S, CATCH_UP_S = 1_800.0, 300.0


@dataclass(frozen=True, slots=True)
class Million:
    """The site, the writer that knows the log's ends, and the snapshots that cover it. Nothing runs."""

    site: Site
    out: Writer
    units: int
    snapshots: list[Stored]


async def epochs(connection: Database) -> dict[int, int]:
    """Return the epoch of each partition's lease, to be had before a process starts."""
    return {each.partition: each.epoch for each in await read_leases(connection)}


async def caught_up(connection: Database, base: Million, process: Pinned, before: Mapping[int, int]) -> None:
    """Return when owners with higher epochs than `before` have published all that is in the log."""

    async def done() -> bool:
        leases = await read_leases(connection)
        new = all(each.epoch > before.get(each.partition, 0) and each.republished for each in leases)
        return new and covers(leases, base.out.ends)

    await reach(done, process, what="the results of ingest", deadline_s=CATCH_UP_S)


async def million(ground: Ground) -> Million:
    """Return what is made once: the log is written, ingest follows it, and is killed when its snapshots
    hold it all."""
    if ground.million is None:
        ground.million = await _make(ground)
    return ground.million


async def _make(ground: Ground) -> Million:
    stack = ground.undo.enter_context(ground.stack("million"))
    await prepare(stack.kafka_bootstrap_servers, definitions(ground.day_ms))
    site = await Site.make(stack, "million", ground.logs)
    out = await ground.undo.enter_async_context(writer(stack.kafka_bootstrap_servers, ground.clock))
    interval = {"METRICS_SNAPSHOT_INTERVAL_MS": str(SNAPSHOT_INTERVAL_MS)}
    with site.runs("services.metrics", "ingest", settings=interval) as ingest:
        for each in slices(int(UNITS * ground.scale), ground.day_ms):
            await out.write(each.records)
        async with database(site.database_url) as connection:

            async def held() -> bool:
                return covers(await read_leases(connection), out.ends) and covers(
                    await read_snapshots(connection), out.ends
                )

            await reach(held, ingest, what="a snapshot of everything", deadline_s=DEADLINE_S)
            stored = await read_snapshots(connection)
            units = await connection.fetchval(_UNITS)
        ingest.kill()
    return Million(site, out, units, stored)


_UNITS = """
SELECT max(units)::bigint FROM (
    SELECT sum(v.units) + max(e.crossed) AS units FROM metrics.partition_variants v JOIN (
        SELECT experiment_id, sum(multi_variant_units) AS crossed
        FROM metrics.partition_experiments GROUP BY experiment_id
    ) e USING (experiment_id) GROUP BY experiment_id
) per_experiment
"""
"""All units meet all experiments."""
