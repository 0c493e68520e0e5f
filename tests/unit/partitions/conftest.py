"""A tiny state that counts, and a worker around it that can die anywhere."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.dead_letters import DeadLetterLimit, DeadLetters
from libs.common.bus.memory import Crash, MemoryBus
from libs.common.bus.partitioner import partition_of
from libs.common.bus.ports import Message, TopicPartition
from libs.common.clock import SystemClock
from libs.common.errors import Retryable
from libs.common.lifecycle import Stop
from libs.common.partitions.line import Line, LineSettings
from libs.common.partitions.memory import MemoryPartitionStore
from libs.common.partitions.ports import Lease, Rejected
from libs.common.partitions.snapshots import Snapshot
from libs.common.telemetry.health import Health

Rows = dict[str, int]
TOPICS = ("exposures", "conversions")
SOME = [("exposures", f"unit-{number % 7}", "1") for number in range(50)]
QUICK = LineSettings(
    publish_interval_ms=1,
    snapshot_interval_ms=5,
    commit_interval_ms=3,
    fetch_timeout_ms=5,
    max_records=7,
    orphan_grace_ms=10,
)


class Counting:
    """Sums the values per key. A value that is no number is poison. Counts every record once, so that a
    record that is folded twice or left out shows."""

    def __init__(self, dump: Iterable[bytes] | None) -> None:
        self.sums: Counter[str] = Counter()
        for chunk in dump or ():
            self.sums.update(json.loads(chunk))
        self._changed: set[str] = set()
        self.marks = 0

    def fold(self, topic: str, batch: Batch) -> Sequence[Rejected]:
        """Add the values of these records."""
        rejected = []
        for record in batch:
            if record.value is None or not record.value.isdigit():
                rejected.append(Rejected(record, "not a number"))
                continue
            key = (record.key or b"").decode()
            self.sums[key] += int(record.value)
            self._changed.add(key)
        return rejected

    def correct(self, key: str, value: int) -> None:
        """Change a sum without a record."""
        self.sums[key] = value
        self._changed.add(key)

    def changed(self) -> bool:
        """Return True when a sum changed since the last rows."""
        return bool(self._changed)

    def rows(self) -> Rows:
        """Return the sums that changed."""
        changed, self._changed = self._changed, set()
        return {key: self.sums[key] for key in changed}

    def mark(self) -> None:
        """Count the marks."""
        self.marks += 1

    def dump(self) -> Iterator[bytes]:
        """Return all sums as they are now, one a chunk."""
        sums = list(self.sums.items())
        return (json.dumps(dict([each])).encode() for each in sums)


class WatchedStore(MemoryPartitionStore[Rows]):
    """Notes who wrote, and dies at a planned call, before or after it took effect. It can also fail the next
    call of a kind, and let the publishes of some partitions wait."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: dict[int, list[int]] = {}
        self.calls: Counter[str] = Counter()
        self.crash_at: tuple[str, int, bool] | None = None
        self.fails: set[str] = set()
        """The kinds of calls whose next one finds nobody."""
        self.gates: dict[int, asyncio.Event] = {}
        """Per partition, what a publish waits for."""
        self.waiting: Counter[int] = Counter()
        """Per partition, the publishes that wait."""

    async def publish(self, lease: Lease, offsets: Mapping[str, int], rows: Rows) -> None:
        """Publish, unless the process dies here."""
        self._die("publish", after=False)
        if lease.partition in self.gates:
            self.waiting[lease.partition] += 1
            try:
                await self.gates[lease.partition].wait()
            finally:
                self.waiting[lease.partition] -= 1
        await super().publish(lease, offsets, rows)
        self.epochs.setdefault(lease.partition, []).append(lease.epoch)
        self._die("publish", after=True)

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """Save, unless the process dies here."""
        self._die("snapshot", after=False)
        await super().save_snapshot(lease, snapshot)
        self._die("snapshot", after=True)

    def _die(self, what: str, *, after: bool) -> None:
        self.calls[what] += not after
        if what in self.fails and not after:
            self.fails.remove(what)
            raise Retryable(f"the store does not take this {what}")
        if self.crash_at is not None:
            kind, number, late = self.crash_at
            if (kind, late) == (what, after) and self.calls[what] >= number:
                self.crash_at = None
                raise Crash("killed at the store")


@dataclass
class Workshop:
    """A bus, a store, and workers between them."""

    clock: SystemClock = field(default_factory=SystemClock)
    store: WatchedStore = field(default_factory=WatchedStore)
    settings: LineSettings = QUICK
    limit: DeadLetterLimit = field(default_factory=DeadLetterLimit)
    letters_bus: MemoryBus | None = None
    """Where dead letters go, if not where all goes."""
    built: list[int] = field(default_factory=list)
    states: list[Counting] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bus = MemoryBus(self.clock)
        self.health = Health(self.clock)
        self.producer = self.bus.producer()

    @property
    def place(self) -> int:
        """The partition of `unit-2`."""
        return partition_of(b"unit-2", 4)

    async def send(self, records: Sequence[tuple[str, str, str]]) -> None:
        """Append records of topic, key and value."""
        producer = self.bus.producer()
        await producer.start()
        await producer.send_all([Message(topic, key, value.encode()) for topic, key, value in records])
        await producer.stop()

    def build(self, partition: int, dump: Iterable[bytes] | None) -> Counting:
        """Keep the promise of StateFactory, and note for which partition."""
        self.built.append(partition)
        self.states.append(Counting(dump))
        return self.states[-1]

    async def dead_letters(self) -> DeadLetters:
        """Return where a worker buries poison."""
        producer = (self.letters_bus or self.bus).producer()
        await producer.start()
        return DeadLetters(producer, source="test", clock=self.clock, limit=self.limit)

    async def line(self) -> Line[Rows]:
        """Return a worker of group `counters`."""
        return Line(
            self.bus,
            group="counters",
            topics=TOPICS,
            factory=self.build,
            store=self.store,
            dead_letters=await self.dead_letters(),
            clock=self.clock,
            health=self.health,
            settings=self.settings,
        )

    async def running(self) -> tuple[asyncio.Task[None], Stop]:
        """Return one worker at work, and what stops it."""
        stop = Stop()
        return asyncio.create_task((await self.line()).run(stop)), stop

    async def work(self, until: Callable[[], bool] | None = None) -> None:
        """Run one worker until everything is published (or `until`), then stop it. Raises what it raises."""
        task, stop = await self.running()
        await self.reach(until or self.all_published, task)
        stop.set("the test is over")
        await task

    async def work_until_killed(self) -> bool:
        """Run one worker until everything is published; returns True when it was killed before."""
        try:
            await self.work()
        except Crash:
            return True
        return False

    async def reach(self, condition: Callable[[], bool], *tasks: asyncio.Task[None]) -> None:
        """Return when `condition` holds or a task has ended. Fails after 20 s."""
        async with asyncio.timeout(20):
            while not condition() and not any(task.done() for task in tasks):  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def all_published(self) -> bool:
        """Return True when the published offsets cover the log."""
        return all(
            self.store.published_offsets(number).get(topic, 0) >= end for (topic, number), end in self.ends()
        )

    def ends(self) -> list[tuple[TopicPartition, int]]:
        """Return the end of every log that holds something."""
        ends: Counter[TopicPartition] = Counter()
        for topic in TOPICS:
            for record in self.bus.records(topic):
                place = TopicPartition(topic, record.partition)
                ends[place] = max(ends[place], record.offset + 1)
        return list(ends.items())

    def truth(self) -> Rows:
        """Return the sums as the log has them."""
        sums: Counter[str] = Counter()
        for topic in TOPICS:
            for record in self.bus.records(topic):
                if record.value is not None and record.value.isdigit():
                    sums[(record.key or b"").decode()] += int(record.value)
        return dict(sums)

    def result(self) -> Rows:
        """Return what a reader of the published rows sees at the end."""
        seen: Rows = {}
        for published in self.store.published.values():
            for rows in published:
                seen |= rows
        return seen

    def went_backwards(self) -> list[tuple[str, int, int]]:
        """Return every place where a published sum fell."""
        falls = []
        for published in self.store.published.values():
            latest: Rows = {}
            for rows in published:
                falls += [(key, latest[key], rows[key]) for key in rows if rows[key] < latest.get(key, 0)]
                latest |= rows
        return falls


@pytest.fixture
def counting() -> Callable[[], Counting]:
    """Makes an empty counting state."""
    return lambda: Counting(None)


@pytest.fixture
async def shop() -> Workshop:
    """A fresh workshop."""
    return Workshop()


@pytest.fixture
def some() -> list[tuple[str, str, str]]:
    """Fifty exposures of seven units, each worth 1."""
    return list(SOME)


@pytest.fixture
def workshop() -> type[Workshop]:
    """Makes a fresh workshop; call it inside a running loop."""
    return Workshop
