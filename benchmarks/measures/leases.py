"""How far ingest is, read where it publishes: its leases and snapshots in PostgreSQL."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import asyncpg

from benchmarks.measures.slices import Place
from schemas.topics import UNIT_PARTITIONS

_LEASES = """
SELECT partition, owner, epoch, acquired_at, published_at, published_offsets::text AS offsets
FROM metrics.partition_leases
"""
_SNAPSHOTS = """
SELECT DISTINCT ON (partition) partition, number, created_at, offsets::text AS offsets,
    octet_length(body) AS bytes
FROM metrics.partition_snapshots ORDER BY partition, number DESC
"""
_NOTHING_YET = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.UndefinedColumnError)

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Lease:
    """One partition: who has it since when, and what is published of it."""

    partition: int
    owner: str
    epoch: int
    acquired_at: datetime
    published_at: datetime | None
    offsets: Mapping[str, int]

    @property
    def republished(self) -> bool:
        """Whether this owner has published yet."""
        return self.published_at is not None and self.published_at >= self.acquired_at


@dataclass(frozen=True, slots=True)
class Stored:
    """The newest snapshot of one partition."""

    partition: int
    number: int
    created_at: datetime
    offsets: Mapping[str, int]
    size: int
    """In bytes, compressed."""


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    """A connection for as long as the block lasts."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def read_leases(connection: Database) -> list[Lease]:
    """Return the leases; none before ingest has made its tables."""
    try:
        rows = await connection.fetch(_LEASES)
    except _NOTHING_YET:
        return []
    return [
        Lease(
            row["partition"],
            row["owner"],
            row["epoch"],
            row["acquired_at"],
            row["published_at"],
            json.loads(row["offsets"]),
        )
        for row in rows
    ]


async def read_snapshots(connection: Database) -> list[Stored]:
    """Return the newest snapshot of each partition."""
    return [
        Stored(row["partition"], row["number"], row["created_at"], json.loads(row["offsets"]), row["bytes"])
        for row in await connection.fetch(_SNAPSHOTS)
    ]


def covers(found: list[Lease] | list[Stored], ends: Mapping[Place, int]) -> bool:
    """Return whether everything before `ends` is in."""
    by_partition = {each.partition: each.offsets for each in found}
    return len(found) == UNIT_PARTITIONS and all(
        by_partition.get(number, {}).get(topic, 0) >= end for (topic, number), end in ends.items()
    )
