"""Where one group of workers works: its log, its record, its crew, and what one waits for there."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from libs.common.bus.kafka import KafkaBus
from libs.common.db.pool import Pool
from schemas.topics import UNIT_PARTITIONS
from services.metrics.audit.check import Audit, audit
from services.metrics.audit.published import PostgresPublished
from tests.e2e.chaos.crew import Crew, Worker, until
from tests.e2e.chaos.log import bus_of, ends
from tests.e2e.chaos.record import Record
from tests.e2e.chaos.world import EXPERIMENTS


@dataclass(frozen=True, slots=True)
class Yard:
    """One group of ingest workers, and all that can be seen of it from outside."""

    bus: KafkaBus
    pool: Pool
    record: Record
    crew: Crew

    @classmethod
    async def open(cls, servers: str, pool: Pool, crew: Crew) -> "Yard":
        """Return a yard with empty tables and the witness in place."""
        record = Record(pool)
        await record.prepare()
        return cls(bus_of(servers), pool, record, crew)

    async def until_shared(self, *workers: Worker, partitions: int = UNIT_PARTITIONS) -> None:
        """Return when all partitions are held, and by exactly these workers."""
        wanted = {worker.pid for worker in workers}

        async def shared() -> bool:
            ended = [worker.said() for worker in workers if worker.process.returncode is not None]
            assert not ended, f"a worker ended by itself: {ended[0]}"
            owners = await self.record.owners()
            return len(owners) == partitions and set(owners.values()) == wanted

        await until(shared, f"all partitions at the workers {wanted}")

    async def until_published(self) -> None:
        """Return when all that is in the log now is published."""
        end = await ends(self.bus)

        async def published() -> bool:
            covered = await self.record.covered()
            return all(covered.get(place, 0) >= offset for place, offset in end.items())

        await until(published, f"published up to {end}")

    async def audits(self) -> list[Audit]:
        """Return the audit of each experiment."""
        return [await audit(key, self.bus, PostgresPublished(self.pool)) for key in EXPERIMENTS]


OpenYard: TypeAlias = Callable[[], Awaitable[Yard]]
"""Makes a yard: a new database, and a new group on the stack's Kafka."""
