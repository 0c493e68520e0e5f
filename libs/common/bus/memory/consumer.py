"""A consumer of the bus in memory: a member of a group, or a reader of everything."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from libs.common.bus.batches import Batch
from libs.common.bus.memory.cluster import Client, Cluster
from libs.common.bus.memory.log import Group
from libs.common.bus.ports import Listener, TopicPartition
from libs.common.errors import Fenced, Misconfigured


class MemoryConsumer(Client):
    """Keeps the promises of `ports.Consumer`. What it gains and loses takes effect at its next fetch; a
    partition that another member had in between counts as lost and gained."""

    def __init__(
        self, cluster: Cluster, group: str | None, topics: Sequence[str], listener: Listener | None
    ) -> None:
        super().__init__(group)
        self._cluster = cluster
        self._topics = frozenset(topics)
        self._listener = listener
        self._member = ""
        self._generation = 0
        self._running = False
        self._mine: frozenset[TopicPartition] = frozenset()
        self._next: dict[TopicPartition, int] = {}
        self._turn = 0

    async def start(self) -> None:
        """Join the group, or take all partitions."""
        self._cluster.check(self)
        self._cluster.clients.add(self)
        self._running = True
        group = self._group()
        if group is not None:
            self._member = group.join(self._topics)
            self._cluster.wake()
            return
        self._mine = frozenset(each for each in self._cluster.logs if each.topic in self._topics)
        self._next = {each: self._cluster.logs[each].beginning for each in self._mine}

    async def stop(self) -> None:
        """Leave at once; the others get the partitions. Works for the dead as well: their session ends."""
        self._running = False
        self._cluster.clients.discard(self)
        group = self._group()
        if group is not None:
            group.leave(self._member)
        self._mine = frozenset()
        self._cluster.wake()

    async def fetch(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Batch]:
        """Return what has come, at the latest after `timeout_ms`."""
        # Others get a turn even when there is always something to read.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        expired = loop.create_future()
        timer = loop.call_later(timeout_ms / 1_000, expired.set_result, None)
        try:
            while True:
                self._check()
                await self._rebalance()
                found = self._take(max_records)
                if found or expired.done() or timeout_ms <= 0:
                    return found
                changed = self._cluster.changed()
                try:
                    await asyncio.wait({changed, expired}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
        finally:
            timer.cancel()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remember the next offsets. Raises Fenced when a partition is no longer this member's."""
        self._check()
        group = self._group()
        if group is None:
            raise Misconfigured("a reader without a group commits nothing", next_step="name a group")
        lost = offsets.keys() - (self._mine & group.shares.get(self._member, frozenset()))
        if lost:
            raise Fenced(f"group {self.group}: {', '.join(map(str, sorted(lost)))} went to another member")
        group.committed.update(offsets)

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read this partition from `offset` on. Raises Fenced when it is not read here."""
        self._check()
        if partition not in self._mine:
            raise Fenced(f"{partition} is not read by this consumer")
        self._next[partition] = offset

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are read now."""
        return self._mine

    def positions(self) -> Mapping[TopicPartition, int]:
        """Return the next offset of each partition that is read now."""
        return {partition: self._next[partition] for partition in self._mine}

    async def end_offsets(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offset that the next record of each partition will get."""
        self._check()
        return {partition: self._cluster.logs[partition].end for partition in partitions}

    async def beginning_offsets(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset that each partition still holds."""
        self._check()
        return {partition: self._cluster.logs[partition].beginning for partition in partitions}

    def die(self) -> None:
        """Do nothing ever again; the group learns of it at once."""
        super().die()
        self.expel()

    def expel(self) -> None:
        """Take the membership away, as a session time-out does; the next fetch joins again."""
        group = self._group()
        if group is not None:
            group.leave(self._member)
            self._cluster.wake()

    def _group(self) -> Group | None:
        return None if self.group is None else self._cluster.group(self.group)

    def _check(self) -> None:
        self._cluster.check(self)
        if not self._running:
            raise RuntimeError("the consumer is not running: start it first, do not use it after stop")

    async def _rebalance(self) -> None:
        group = self._group()
        while group is not None and (
            self._generation != group.generation or self._mine != group.shares.get(self._member)
        ):
            if self._member not in group.shares:
                self._member = group.join(self._topics)
                self._cluster.wake()
            generation, share = group.generation, group.shares[self._member]
            stolen = {each for each in self._mine & share if group.since[each] > self._generation}
            await self._lose((self._mine - share) | stolen)
            await self._gain(group, share - self._mine)
            self._generation = generation

    async def _lose(self, lost: frozenset[TopicPartition]) -> None:
        if lost and self._listener is not None:
            await self._listener.revoked(lost)
        self._mine -= lost

    async def _gain(self, group: Group, gained: frozenset[TopicPartition]) -> None:
        # Should the listener raise, the partitions stay outside and it is called again by the next fetch.
        wanted: Mapping[TopicPartition, int] = {}
        if gained and self._listener is not None:
            wanted = await self._listener.assigned(gained)
        for each in gained:
            start = group.committed.get(each, self._cluster.logs[each].beginning)
            self._next[each] = wanted.get(each, start)
        self._mine |= gained

    def _take(self, max_records: int) -> dict[TopicPartition, Batch]:
        found: dict[TopicPartition, Batch] = {}
        order = sorted(self._mine)
        self._turn += 1
        start = self._turn % max(len(order), 1)
        for partition in order[start:] + order[:start]:
            limit = self._limit(partition.topic, max_records, found)
            try:
                records = self._cluster.logs[partition].read(self._next[partition], max(limit, 0))
            except Misconfigured:
                if found:
                    break  # What was found comes first; the next fetch says it.
                raise
            if records:
                found[partition] = Batch.of(records)
                self._next[partition] = records[-1].offset + 1
        counts: Counter[str] = Counter()
        for partition, batch in found.items():
            counts[partition.topic] += len(batch)
        self._cluster.passed("read", counts, self)
        return found

    def _limit(self, topic: str, max_records: int, found: Mapping[TopicPartition, Batch]) -> int:
        limit = max_records - sum(len(records) for records in found.values())
        allowed = self._cluster.allowed("read", topic, self)
        if allowed is None:
            return limit
        taken = sum(len(records) for partition, records in found.items() if partition.topic == topic)
        return min(limit, allowed - taken)
