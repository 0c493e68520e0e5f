"""The part of `reset` that both services share: connect, check, forget, tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.common.bus.ports import Bus
from libs.common.clock import Clock
from libs.common.db.migrate import migrate
from libs.common.db.pool import connect
from libs.common.partitions.bodies.places import open_bodies
from libs.common.partitions.reset import Wish, check_log, reset


@dataclass(frozen=True, slots=True)
class Holding:
    """What a service keeps per partition, and where."""

    schema: str
    migrations: Path
    topics: Sequence[str]
    """What its line reads."""
    tables: Sequence[str]
    """What its line writes; each has a column `partition`."""
    also: Sequence[str] = ()
    """What else is to be executed whenever partitions are forgotten."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How to get there."""

    bus: Bus
    database_url: str
    snapshot_url: str
    clock: Clock
    deadline_ms: int


async def run_reset(holding: Holding, reach: Reach, wish: Wish) -> list[int]:
    """Reset what is wished for and return the partitions. Raises what `check_log` and `reset` raise."""
    if wish.whole_log:
        await check_log(reach.bus, holding.topics, wish.partition)
    bodies = await open_bodies(reach.snapshot_url, clock=reach.clock, deadline_ms=reach.deadline_ms)
    pool = await connect(
        reach.database_url, schema=holding.schema, deadline_ms=reach.deadline_ms, clock=reach.clock
    )
    async with pool:
        await migrate(pool, holding.schema, holding.migrations)
        return await reset(pool, wish, holding.tables, bodies, holding.also)
