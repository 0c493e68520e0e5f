"""What Apache Kafka refuses, and what becomes of it: members, records, batches."""

import asyncio
import secrets
import socket
from contextlib import AsyncExitStack, suppress

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import InconsistentGroupProtocolError
from aiokafka.protocol.group import LeaveGroupRequest

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.kafka import producer as producing
from libs.common.bus.kafka.consumer import KafkaConsumer
from libs.common.bus.ports import Message
from libs.common.clock import ManualClock
from libs.common.errors import Refused, Retryable
from tests.integration.bus.cluster import CLOCK, alter, configs

HOUR_MS = 60 * 60 * 1_000


async def expel(member: KafkaConsumer) -> None:
    """Take a member out of its group, as a session time-out does."""
    assert member._consumer is not None
    coordinator = member._consumer._coordinator
    await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))


async def take_the_place_of(member: KafkaConsumer, servers: str, group: str) -> AIOKafkaConsumer:
    """Return a member that shares partitions out in another way, and is in the group instead of `member`."""
    while True:
        await expel(member)
        stranger = AIOKafkaConsumer(
            "exposures",
            bootstrap_servers=servers,
            group_id=group,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )
        try:
            await stranger.start()
        except InconsistentGroupProtocolError:
            await stranger.stop()  # the member was faster and is back
            continue
        return stranger


async def read(member: KafkaConsumer) -> None:
    """Fetch until something is in the way."""
    while True:
        await member.fetch(timeout_ms=20, max_records=10)


async def test_a_member_that_may_not_come_back_says_so(bus: KafkaBus, kafka_bootstrap_servers: str) -> None:
    """A member that lost its place, and is refused by the group when it joins again, raises what is in the
    way from every fetch, instead of waiting like a spare one; when nothing is in the way it reads again."""
    group = secrets.token_hex(4)
    member = bus.consumer(group=group, topics=["exposures"])
    async with AsyncExitStack() as undo, asyncio.timeout(60):
        await member.start()
        undo.push_async_callback(member.stop)
        while not member.assignment():
            await member.fetch(timeout_ms=20, max_records=10)
        stranger = await take_the_place_of(member, kafka_bootstrap_servers, group)
        undo.push_async_callback(stranger.stop)
        for _ in range(2):
            with pytest.raises(Retryable, match="InconsistentGroupProtocol") as refused:
                await read(member)
            assert "other program" in refused.value.next_step
        await stranger.stop()
        while not member.assignment():
            await member.fetch(timeout_ms=20, max_records=10)


async def test_a_member_whose_coordination_has_died_says_so(bus: KafkaBus) -> None:
    """A member whose background task has failed while it had no partition raises it, and joins anew."""
    member = bus.consumer(group=secrets.token_hex(4), topics=["exposures"])
    async with AsyncExitStack() as undo, asyncio.timeout(60):
        await member.start()
        undo.push_async_callback(member.stop)
        assert member._consumer is not None
        member._consumer._coordinator._on_join_complete = None  # calling it fails as aiokafka does not expect
        await expel(member)
        with pytest.raises(Retryable, match="Unexpected error"):
            await read(member)
        while not member.assignment():
            await member.fetch(timeout_ms=20, max_records=10)


async def test_a_producer_survives_a_batch_that_the_broker_refuses(
    bus: KafkaBus, admin: AIOKafkaAdminClient
) -> None:
    """A refused batch, which breaks an idempotent producer's sequence, is Refused; the next arrive."""
    described = await configs(admin, "verdicts", its_own=True)
    producer = bus.producer()
    await producer.start()
    try:
        await alter(admin, "verdicts", described | {"max.message.bytes": "5000"})
        # The broker checks the sequence of a producer from its first batch on.
        first = await producer.send(Message("verdicts", "k", b"small"))
        with pytest.raises(Refused, match="this size"):
            await producer.send(Message("verdicts", "k", bytes(9_000)))
        for number in (1, 2):
            landed = await producer.send(Message("verdicts", "k", b"small"))
            assert landed.offset == first.offset + number
    finally:
        await producer.stop()
        await alter(admin, "verdicts", described)


@pytest.mark.parametrize("count", [1, 200])
async def test_a_record_from_the_future_is_refused(
    bus: KafkaBus, kafka_bootstrap_servers: str, count: int
) -> None:
    """A producer whose clock is more than an hour ahead of the broker's is told to set it, whether it sends
    one message or many; nothing of it is in the log. Up to an hour is taken, and so is the past."""
    clock = ManualClock(CLOCK.now_ms() - 400 * 24 * HOUR_MS)
    producer = KafkaBus(kafka_bootstrap_servers, client_id="ahead", clock=clock).producer()
    messages = [Message("rollbacks", "k", b"%d" % number) for number in range(count)]
    async with AsyncExitStack() as undo:
        await producer.start()
        undo.push_async_callback(producer.stop)
        first = await producer.send(Message("rollbacks", "k", b"from long ago"))
        clock.advance(402 * 24 * HOUR_MS)
        for answer in await producer.send_all(messages):
            assert isinstance(answer, Retryable)
            assert "clock" in answer.next_step
        soon = KafkaBus(
            kafka_bootstrap_servers, client_id="soon", clock=ManualClock(CLOCK.now_ms() + HOUR_MS // 2)
        ).producer()
        await soon.start()
        undo.push_async_callback(soon.stop)
        assert (await soon.send(Message("rollbacks", "k", b"soon"))).offset == first.offset + 1


async def test_a_send_has_one_deadline(bus: KafkaBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that wait for room in the queue, and then for an acknowledgement, wait for both together no
    longer than the limit of a send. All answers are Retryable."""
    monkeypatch.setattr(producing, "SEND_TIMEOUT_MS", 3_000)
    producer = bus.producer()
    await producer.start()
    try:
        await producer.send(Message("verdicts", "k", b"first"))
        assert producer._producer is not None
        producer._producer._sender._sender_task.cancel()  # as if no broker answered
        async with asyncio.timeout(5):
            answers = await producer.send_all([Message("verdicts", "k", bytes(200_000))] * 4)
        assert [type(each) for each in answers] == [Retryable] * 4
    finally:
        await producer.stop()


async def test_a_producer_that_is_made_anew_holds_nobody_up(
    bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the broker takes connections and says nothing, a producer that must be made anew answers in the
    time of a send, and can be stopped; before that, the broker back, it sends again."""
    monkeypatch.setattr(producing, "SEND_TIMEOUT_MS", 2_000)
    producer, servers = bus.producer(), bus._servers
    await producer.start()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        try:
            producer._broken, producer._servers = True, f"127.0.0.1:{silent.getsockname()[1]}"
            async with asyncio.timeout(10):
                with pytest.raises(Retryable, match="not answered in time"):
                    await producer.send(Message("verdicts", "k", b"1"))
            producer._servers = servers
            async with asyncio.timeout(60):
                while True:
                    with suppress(Retryable):
                        await producer.send(Message("verdicts", "k", b"2"))
                        break
            producer._broken, producer._servers = True, f"127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(Retryable, match="not answered in time"):
                await producer.send(Message("verdicts", "k", b"3"))
        finally:
            async with asyncio.timeout(15):
                await producer.stop()
