"""`reset` and `rebuild`: forget what partitions hold, so that their next owner begins with the log again.

Results of a partition are missing until its owner starts, and grow until it has read the log. Poison that the
log still holds is buried once more. A definition, a judgement, or anything else that is not a partition's own
stays as it is.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.bus.ports import Bus, TopicPartition
from libs.common.db.pool import Connection, Pool, outages
from libs.common.errors import NotFound, Refused, TrimtabError
from libs.common.partitions.bodies.outside import OutsideBodies
from libs.common.partitions.bodies.ports import SnapshotBodies
from libs.common.partitions.ports import Lease

log = logging.getLogger(__name__)

LIVE_MS = 20_000
"""An owner that said so within this time is at work; it says so every 5 s."""
TIMEOUT_MS = 600_000

_LEASES = """
SELECT partition, owner, epoch, coalesce(seen_at > now() - $2 * interval '1 ms', false) AS live
FROM partition_leases WHERE $1::integer IS NULL OR partition = $1 ORDER BY partition FOR UPDATE
"""
_FORGET = """
UPDATE partition_leases SET epoch = epoch + 1, owner = 'reset', published_offsets = '{}', published_at = NULL,
    seen_at = NULL, acquired_at = now()
WHERE partition = $1
"""
_SNAPSHOTS = "DELETE FROM partition_snapshots WHERE partition = $1 RETURNING location"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be forgotten, and against which objections."""

    partition: int | None = None
    """None: all partitions."""
    force: bool = False
    """Even while an owner is at work: it is fenced."""
    whole_log: bool = False
    """Only when the log still begins with its first record."""


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `reset` and `rebuild` to a program's command line; `wish_of` reads them."""
    reset = verbs.add_parser("reset", help="forget snapshots and results; begin with what the log holds")
    rebuild = verbs.add_parser("rebuild", help="reset, if the log still holds every record")
    for parser in (reset, rebuild):
        parser.add_argument("--yes", action="store_true", required=True, help="yes, forget them")
        parser.add_argument("--partition", type=int, help="only this partition")
        parser.add_argument("--force", action="store_true", help="even while ingest is at work")
    rebuild.add_argument("--from-what-is-left", action="store_true", help="even if retention took some")
    reset.set_defaults(from_what_is_left=True)


def wish_of(arguments: argparse.Namespace) -> Wish:
    """Return what the command line asks for."""
    return Wish(arguments.partition, arguments.force, not arguments.from_what_is_left)


def explain(error: TrimtabError) -> str:
    """Return what a person at the command line reads of an error."""
    return f"{error.message} ({error.next_step})" if error.next_step else error.message


async def check_log(bus: Bus, topics: Sequence[str], partition: int | None) -> None:
    """Return when the log of these topics, in this partition or in all, begins with its first record. Raises
    Refused when retention has taken some, NotFound when there is no such partition."""
    reader = bus.reader(topics)
    await reader.start()
    try:
        places = frozenset(each for each in reader.assignment() if partition in (None, each.partition))
        if not places:
            raise NotFound(f"{', '.join(topics)}: there is no partition {partition}")
        begins = await reader.beginning_offsets(places)
    finally:
        await reader.stop()
    _refuse_cut({place: offset for place, offset in begins.items() if offset > 0})


def _refuse_cut(cut: dict[TopicPartition, int]) -> None:
    if cut:
        places = ", ".join(f"{place} at offset {cut[place]}" for place in sorted(cut))
        raise Refused(
            f"the log does not hold its first records any more: it begins in {places}",
            next_step="what is rebuilt would be smaller than what is there; --from-what-is-left accepts that",
        )


async def reset(
    pool: Pool, wish: Wish, tables: Sequence[str], bodies: SnapshotBodies | None, also: Sequence[str] = ()
) -> list[int]:
    """Forget snapshots, published offsets and the partition's rows in `tables` (which have a column
    `partition`), and run the statements `also`, in one transaction; fence whoever owns them. Returns the
    partitions. Bodies outside go afterwards; what cannot be removed is logged.

    Raises Refused while an owner is at work, unless the wish says `force`; NotFound when nobody ever owned
    such a partition; Retryable when PostgreSQL does not answer. Then nothing has changed.
    """
    with outages("resetting"):
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_LEASES, wish.partition, float(LIVE_MS))
            _refuse_live(wish, {row["partition"]: row["owner"] for row in rows if row["live"]})
            if not rows:
                raise NotFound("nothing to reset: there was never an owner", next_step="start ingest")
            gone = [await _forget(connection, row["partition"], tables) for row in rows]
            for statement in also:
                await connection.execute(statement, timeout=TIMEOUT_MS / 1_000)
    outside = OutsideBodies(pool, bodies)
    for row, locations in zip(rows, gone, strict=True):
        lease = Lease(row["partition"], row["epoch"] + 1, None, {}, {})
        await outside.tidy(lease, locations)
    return [row["partition"] for row in rows]


def _refuse_live(wish: Wish, owners: dict[int, str]) -> None:
    if owners and not wish.force:
        told = ", ".join(f"partition {number} is {owner}'s" for number, owner in sorted(owners.items()))
        raise Refused(
            f"ingest is at work: {told}",
            next_step=f"stop it (one that was killed counts as gone after {LIVE_MS // 1_000} s), or take its "
            "partitions away with --force: it is fenced and begins anew",
        )


async def _forget(connection: Connection, partition: int, tables: Sequence[str]) -> list[str]:
    """Delete all of one partition and return where bodies of its snapshots lie."""
    await connection.execute(_FORGET, partition)
    for table in tables:
        statement = f'DELETE FROM "{table}" WHERE partition = $1'  # noqa: S608 - a name from our own code
        await connection.execute(statement, partition, timeout=TIMEOUT_MS / 1_000)
    rows = await connection.fetch(_SNAPSHOTS, partition, timeout=TIMEOUT_MS / 1_000)
    log.info("partition %d: forgotten", partition)
    return [row["location"] for row in rows if row["location"]]
