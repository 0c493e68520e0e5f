"""Reads from Kafka: as a member of a group, or alone."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
)
from aiokafka.structs import TopicPartition as Place

from libs.common.bus.batches import Batch, Raw
from libs.common.bus.kafka import limits, source
from libs.common.bus.kafka.admin import KafkaAdmin
from libs.common.bus.kafka.failures import answered, translated
from libs.common.bus.kafka.membership import Membership
from libs.common.bus.kafka.raw import hand_out_raw
from libs.common.bus.kafka.silence import Silence
from libs.common.bus.ports import Listener, TopicPartition
from libs.common.bus.rules import overtaken
from libs.common.clock import Clock
from libs.common.errors import Fenced, Misconfigured, Refused, Retryable

Found = Mapping[Place, Sequence[Raw]]


@dataclass(frozen=True, slots=True)
class Joining:
    """Which group is joined, under which lasting name ("": none), and who hears of its partitions."""

    group: str | None = None
    member: str = ""
    listener: Listener | None = None


_ALONE = Joining()


class KafkaConsumer:
    """Keeps the promises of `ports.Consumer`. For one task at a time.

    Where to read on is remembered here, not in aiokafka, which forgets it at every rebalance. aiokafka
    rebalances in the background; what it reports takes effect inside `fetch`.
    """

    def __init__(
        self,
        admin: KafkaAdmin,
        *,
        topics: Sequence[str],
        clock: Clock,
        joining: Joining = _ALONE,
    ) -> None:
        self._admin = admin
        self._silence = Silence(clock)
        self._worn_out = False
        self._group, self._name = joining.group, joining.member
        self._topics = sorted(set(topics))
        self._listener = joining.listener
        self._consumer: AIOKafkaConsumer | None = None
        self._membership = Membership(lambda: ("", 0))
        self._mine: frozenset[TopicPartition] = frozenset()
        self._next: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connect and join, within 30 s. Raises Retryable when no broker answers; call it again then."""
        consumer = source.make_consumer(
            self._admin.servers, client_id=self._admin.client_id, group=self._group, member=self._name
        )
        membership = Membership(lambda: source.identity(consumer))
        # What an earlier connection had read may have been somebody else's since.
        membership.lost |= self._mine if self._group is not None else frozenset()
        try:
            async with answered("joining"), asyncio.timeout(limits.START_TIMEOUT_MS / 1_000):
                if self._group is not None:
                    consumer.subscribe(self._topics, listener=membership)
                    await consumer.start()
                else:
                    await self._take_all(consumer, membership)
                hand_out_raw(consumer)
        except BaseException:
            await source.close_consumer(consumer)
            raise
        self._consumer, self._membership, self._worn_out = consumer, membership, False

    async def stop(self) -> None:
        """Leave at once; commits nothing."""
        consumer, self._consumer = self._consumer, None
        self._mine = frozenset()
        if consumer is not None:
            await source.close_consumer(consumer)

    async def fetch(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Batch]:
        """Return what has come. Raises Retryable when no broker has answered for 15 s, or the group does not
        take this member back."""
        consumer = await self._working()
        loop = asyncio.get_running_loop()
        expired = loop.create_future()
        timer = loop.call_later(timeout_ms / 1_000, expired.set_result, None)
        try:
            while True:
                await self._apply(consumer)
                found = await self._poll(consumer, expired, timeout_ms=timeout_ms, max_records=max_records)
                if found is not None:
                    self._silence.note(consumer, source.places(self._mine), heard=bool(found))
                    return self._handed_out(found)
        finally:
            timer.cancel()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remember the next offsets. Raises Fenced when a partition went to another member, Retryable when
        Kafka does not answer within 20 s. Waits for a rebalance to end."""
        consumer = self._running()
        if self._group is None:
            raise Misconfigured("a reader without a group commits nothing", next_step="name a group")
        async with answered("committing"), asyncio.timeout(limits.CALL_TIMEOUT_MS / 1_000):
            while offsets and not await self._committed(consumer, offsets):
                pass

    async def _committed(self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> bool:
        """Try once. Returns False after a rebalance that was in the way."""
        names = ", ".join(map(str, sorted(offsets)))
        fenced = Fenced(f"group {self._group}: {names}: no longer this member's")
        report = self._membership.changed()
        if not offsets.keys() <= self._mine or not self._membership.holds(offsets):
            raise fenced
        if self._membership.rebalancing:
            # Sent now, it would wait at the broker behind our request to join, and arrive with a generation
            # that is over: aiokafka then asks for another rebalance, and all members wait once more.
            await asyncio.wait({report})
            return False
        try:
            await consumer.commit({Place(*partition): offset for partition, offset in offsets.items()})
        except CommitFailedError as error:
            if not isinstance(error.__cause__, RebalanceInProgressError):
                raise fenced from error
        except IllegalStateError as error:
            raise fenced from error
        else:
            return True
        await asyncio.wait({report})
        return False

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read this partition from `offset` on. Raises Fenced when it is not read here."""
        consumer = self._running()
        if partition not in self._mine:
            raise Fenced(f"{partition} is not read by this consumer")
        self._next[partition] = offset
        self._seek(consumer, [partition])

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are read now."""
        return self._mine

    def positions(self) -> Mapping[TopicPartition, int]:
        """Return the next offset of each partition that is read now."""
        return {partition: self._next[partition] for partition in self._mine}

    async def end_offsets(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offset that the next record of each partition will get."""
        return await source.end_offsets(self._running(), partitions)

    async def beginning_offsets(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset that each partition still holds."""
        return await source.beginning_offsets(self._running(), partitions)

    def _running(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("the consumer is not running: start it first, do not use it after stop")
        return self._consumer

    async def _working(self) -> AIOKafkaConsumer:
        if self._worn_out:
            await source.close_consumer(self._running())
            await self.start()
        return self._running()

    async def _take_all(self, consumer: AIOKafkaConsumer, membership: Membership) -> None:
        counts = await self._admin.partitions(self._topics)
        mine = frozenset(
            TopicPartition(name, each) for name, count in counts.items() for each in range(count)
        )
        consumer.assign(source.places(mine))
        await consumer.start()
        self._next = await source.beginning_offsets(consumer, mine) | self._next
        self._seek(consumer, mine)
        self._mine = membership.share = mine
        membership.rebalancing = False

    async def _apply(self, consumer: AIOKafkaConsumer) -> None:
        membership = self._membership
        while membership.dirty and not membership.rebalancing:
            membership.dirty = False
            share, lost = membership.share, membership.lost
            membership.lost = set()
            try:
                await self._lose(self._mine & (lost | (self._mine - share)))
                await self._gain(consumer, share - self._mine)
            except BaseException:
                membership.lost |= lost
                membership.dirty = True
                raise
            self._seek(consumer, self._mine)

    async def _lose(self, lost: frozenset[TopicPartition]) -> None:
        if lost and self._listener is not None:
            await self._listener.revoked(lost)
        self._mine -= lost

    async def _gain(self, consumer: AIOKafkaConsumer, gained: frozenset[TopicPartition]) -> None:
        if not gained:
            return
        # Should the listener raise, the partitions stay outside and it is called again by the next fetch.
        wanted = {} if self._listener is None else dict(await self._listener.assigned(gained))
        wanted |= await source.committed_offsets(consumer, gained - wanted.keys())
        wanted |= await source.beginning_offsets(consumer, gained - wanted.keys())
        self._next |= {partition: wanted[partition] for partition in gained}
        self._mine |= gained

    def _seek(self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            try:
                consumer.seek(Place(*partition), self._next[partition])
            except IllegalStateError:
                # Lost already; the report of it comes, and until then nothing is read from here.
                continue

    async def _poll(
        self, consumer: AIOKafkaConsumer, expired: asyncio.Future[None], *, timeout_ms: int, max_records: int
    ) -> Found | None:
        """Return what has come, empty when the time is over; None when the partitions have changed."""
        changed = self._membership.changed()
        if not self._mine or self._membership.rebalancing:
            await asyncio.wait({expired, changed}, return_when=asyncio.FIRST_COMPLETED)
            # `getmany` would say it, and is not called while there is nothing to get.
            try:
                source.check_coordination(consumer)
            except KafkaError as error:
                raise self._failed(error, "as a member of the group") from error
            return {} if expired.done() else None
        mine = source.places(self._mine)
        polling: asyncio.Future[Any] = asyncio.ensure_future(
            consumer.getmany(*mine, timeout_ms=timeout_ms, max_records=max_records)
        )
        try:
            await asyncio.wait([changed, polling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # aiokafka takes records out only as it returns them: cancelling loses none.
            polling.cancel()
            await asyncio.wait({polling})
        if polling.cancelled():
            return {} if expired.done() else None
        return await self._result(consumer, polling)

    async def _result(self, consumer: AIOKafkaConsumer, polling: asyncio.Future[Found]) -> Found:
        error = polling.exception()
        if error is None:
            return polling.result()
        if isinstance(error, OffsetOutOfRangeError):
            await self._check_range(consumer)
            return {}
        if not isinstance(error, KafkaError):
            raise error
        raise self._failed(error, "reading") from error

    def _failed(self, error: KafkaError, what: str) -> Retryable | Refused | Misconfigured:
        # aiokafka does not get over these by itself.
        self._worn_out = not error.retriable
        return translated(error, what)

    async def _check_range(self, consumer: AIOKafkaConsumer) -> None:
        first = await source.beginning_offsets(consumer, self._mine)
        end = await source.end_offsets(consumer, self._mine)
        for partition in sorted(self._mine):
            wanted = self._next[partition]
            if not first[partition] <= wanted <= end[partition]:
                raise overtaken(partition, wanted, first[partition], end[partition])
        self._seek(consumer, self._mine)

    def _handed_out(self, found: Found) -> dict[TopicPartition, Batch]:
        batches = {}
        for (topic, number), raw in found.items():
            batch = batches[TopicPartition(topic, number)] = Batch(topic, number, raw)
            self._next[TopicPartition(topic, number)] = batch.next_offset
        return batches
