"""From the start of an ingest process to caught up: a million units in its snapshots, a minute of log after.

Twice: when the group has forgotten the process that was killed, and at once after a kill -9, when the new one
has to wait until the broker misses the old one (its session time-out).
"""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.measures.figures import Figure
from benchmarks.measures.ground import Ground
from benchmarks.measures.leases import database
from benchmarks.measures.million import Million, caught_up, epochs, million
from benchmarks.measures.slices import make_slice
from benchmarks.measures.traffic import RATE
from benchmarks.world import CONVERSIONS, EXPOSURES, UNITS

MINUTE_EVENTS = 60 * RATE
SEED = 1_000_001
LIMIT_S = 10.0
NEVER_MS = 3_600_000
FORGOTTEN_DEADLINE_S = 60.0


async def measure(ground: Ground) -> list[Figure]:
    """Append the minute, then time a start in order and one after a kill."""
    base = await million(ground)
    units = round(MINUTE_EVENTS * max(ground.scale, 0.01) * UNITS / (EXPOSURES + CONVERSIONS))
    minute = make_slice(SEED, ground.day_ms, units)
    await base.out.write(minute.records)
    await _forgotten(base)
    in_order_s = await _timed(ground, base)
    after_kill_s = await _timed(ground, base)
    size = sum(each.size for each in base.snapshots)
    return [
        Figure(
            f"restart to caught up ({base.units:,} units in snapshots, {minute.events:,} events after them)",
            f"{in_order_s:.1f} s",
            f"below {LIMIT_S:.0f} s",
            in_order_s < LIMIT_S,
        ),
        Figure(
            "- started at once after kill -9: the session time-out of the killed one is in it",
            f"{after_kill_s:.1f} s",
            f"below {LIMIT_S:.0f} s",
            after_kill_s < LIMIT_S,
        ),
        Figure("- snapshots, compressed", f"{size / 2**20:,.0f} MiB, {size / base.units:.0f} bytes a unit"),
    ]


async def _timed(ground: Ground, base: Million) -> float:
    """Return the seconds from the start of ingest to caught up; then kill it. It takes no snapshot, so that
    the next one has as much to replay."""
    settings = {"METRICS_SNAPSHOT_INTERVAL_MS": str(NEVER_MS)}
    async with database(base.site.database_url) as connection:
        before, started_ms = await epochs(connection), ground.clock.monotonic_ms()
        with base.site.runs("services.metrics", "ingest", settings=settings) as ingest:
            await caught_up(connection, base, ingest, before)
            seconds = (ground.clock.monotonic_ms() - started_ms) / 1_000
            ingest.kill()
    return seconds


async def _forgotten(base: Million) -> None:
    """Return when the group has no member."""
    group = base.site.environment["METRICS_INGEST_GROUP"]
    admin = AIOKafkaAdminClient(bootstrap_servers=base.site.stack.kafka_bootstrap_servers)
    await admin.start()
    try:
        async with asyncio.timeout(FORGOTTEN_DEADLINE_S):
            while await _members(admin, group):  # noqa: ASYNC110 - it is the broker who knows
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    (answer,) = await admin.describe_consumer_groups([group])
    (found,) = answer.groups
    return len(found[5])
