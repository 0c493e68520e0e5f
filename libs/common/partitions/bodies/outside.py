"""Bodies outside of the table, as the catalogue in PostgreSQL knows them."""

import logging
from collections.abc import Sequence

from libs.common.db.pool import Pool, outages
from libs.common.errors import Misconfigured, Retryable
from libs.common.partitions.bodies.names import BodyNames, epoch_of
from libs.common.partitions.bodies.places import bodies_at
from libs.common.partitions.bodies.ports import SnapshotBodies
from libs.common.partitions.ports import Lease
from libs.common.partitions.rules import fenced

log = logging.getLogger(__name__)

_NEXT = """
SELECT current_schema() AS schema, id AS catalogue,
    greatest((SELECT max(number) FROM partition_snapshots WHERE partition = $1), 0) + 1 AS number
FROM partition_catalogue
"""
_OWNER = "SELECT 1 FROM partition_leases WHERE partition = $1 AND epoch = $2"
_LOCATIONS = "SELECT location FROM partition_snapshots WHERE partition = $1 AND location IS NOT NULL"


class OutsideBodies:
    """Writes bodies to one place, reads them from wherever they were written, and leaves no litter."""

    def __init__(self, pool: Pool, bodies: SnapshotBodies | None) -> None:
        self._pool = pool
        self._bodies = bodies

    async def put(self, lease: Lease, body: bytes) -> str | None:
        """Write a body under a name that only this owner uses, and return its location; None when bodies
        belong into the table. Raises Fenced."""
        if self._bodies is None:
            return None
        if await self._pool.fetchval(_OWNER, lease.partition, lease.epoch) is None:
            raise fenced(lease)
        names, number = await self._names(lease.partition)
        name = names.name(lease.epoch, number)
        await self._bodies.put(name, body)
        return f"{self._bodies.url}/{name}"

    async def get(self, location: str) -> bytes:
        """Return the body at a location. Raises NotFound when it is missing."""
        bodies, name = self._find(location)
        return await bodies.get(name)

    async def tidy(self, lease: Lease, pruned: Sequence[str]) -> None:
        """Remove the bodies at these locations, and those of this partition that no row names: whoever wrote
        them died, or was fenced, before the row was. Newer owners' are left alone, so whoever was fenced
        meanwhile may tidy too. What cannot be removed is logged, and tried again after the next snapshot."""
        try:
            with outages(f"tidying partition {lease.partition}"):
                for location in pruned:
                    bodies, name = self._find(location)
                    await bodies.delete(name)
                if self._bodies is not None:
                    await self._sweep(self._bodies, lease)
        except (Retryable, Misconfigured) as error:
            log.warning("old snapshots are still there: %s", error.message)

    async def _sweep(self, bodies: SnapshotBodies, lease: Lease) -> None:
        names, _ = await self._names(lease.partition)
        found = await bodies.names(names.prefix)
        rows = await self._pool.fetch(_LOCATIONS, lease.partition)
        known = {row["location"] for row in rows}
        for name in found:
            epoch = epoch_of(name)
            if epoch is not None and epoch <= lease.epoch and f"{bodies.url}/{name}" not in known:
                await bodies.delete(name)

    async def _names(self, partition: int) -> tuple[BodyNames, int]:
        row = await self._pool.fetchrow(_NEXT, partition)
        assert row is not None
        return BodyNames(row["schema"], row["catalogue"].hex, partition), row["number"]

    def _find(self, location: str) -> tuple[SnapshotBodies, str]:
        """Return the place and the name of a body; the place may be one that an earlier setting named."""
        url, _, name = location.rpartition("/")
        if self._bodies is not None and self._bodies.url == url:
            return self._bodies, name
        bodies = bodies_at(url)
        if bodies is None:
            raise Misconfigured(
                f"a snapshot lies at {location!r}, which is no place",
                next_step="correct the column location of partition_snapshots",
            )
        return bodies, name
