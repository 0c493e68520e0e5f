"""A worker process around a line, for tests that kill it: `worker.py KAFKA DATABASE_URL GROUP`."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from libs.common.bus.batches import Batch
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.kafka import KafkaBus
from libs.common.clock import SystemClock
from libs.common.db.pool import Connection, connect
from libs.common.lifecycle import Stop, run
from libs.common.partitions.line import Line, LineSettings
from libs.common.partitions.ports import Rejected
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.common.telemetry.health import Health

TOPICS = ("exposures", "conversions")
SETTINGS = LineSettings(publish_interval_ms=100, snapshot_interval_ms=700, commit_interval_ms=500)
_UPSERT = """
INSERT INTO sums (partition, key, value) VALUES ($1, $2, $3)
ON CONFLICT (partition, key) DO UPDATE SET value = excluded.value
"""


class Counting:
    """Sums the values of the keys that begin with the group's name; the topics are shared with other
    tests."""

    def __init__(self, prefix: str, dump: Iterable[bytes] | None) -> None:
        self._prefix = prefix
        self._sums: Counter[str] = Counter()
        for chunk in dump or ():
            self._sums.update(json.loads(chunk))
        self._changed: set[str] = set()

    def fold(self, topic: str, batch: Batch) -> Sequence[Rejected]:
        """Add the values of these records."""
        rejected = []
        for record in batch:
            key = (record.key or b"").decode(errors="replace")
            if not key.startswith(self._prefix):
                continue
            if record.value is None or not record.value.isdigit():
                rejected.append(Rejected(record, "not a number"))
                continue
            self._sums[key] += int(record.value)
            self._changed.add(key)
        return rejected

    def changed(self) -> bool:
        """Return True when a sum changed since the last rows."""
        return bool(self._changed)

    def rows(self) -> dict[str, int]:
        """Return the sums that changed."""
        changed, self._changed = self._changed, set()
        return {key: self._sums[key] for key in changed}

    def mark(self) -> None:
        """Do nothing: nothing is forgotten."""

    def dump(self) -> Iterator[bytes]:
        """Return all sums as they are now, one a chunk."""
        sums = list(self._sums.items())
        return (json.dumps(dict([each])).encode() for each in sums)


async def write_sums(connection: Connection, partition: int, rows: dict[str, int]) -> None:
    """Write absolute sums."""
    await connection.executemany(_UPSERT, [(partition, key, value) for key, value in rows.items()])


async def work(stop: Stop, servers: str, database_url: str, group: str) -> None:
    """Run one line until told to stop."""
    clock = SystemClock()
    bus = KafkaBus(servers, client_id=group, clock=clock)
    producer = bus.producer()
    await producer.start()
    try:
        async with await connect(database_url, schema="counting", deadline_ms=20_000, clock=clock) as pool:
            await Line(
                bus,
                group=group,
                topics=TOPICS,
                factory=lambda partition, dump: Counting(group, dump),
                store=PostgresPartitionStore(pool, write_sums),
                dead_letters=DeadLetters(producer, source=group, clock=clock),
                clock=clock,
                health=Health(clock),
                settings=SETTINGS,
            ).run(stop)
    finally:
        await producer.stop()


if __name__ == "__main__":
    sys.exit(run(lambda stop: work(stop, *sys.argv[1:4]), drain_deadline_ms=10_000))
