"""What only Apache Kafka shows: topics as described, outages, members of groups."""

import asyncio
import secrets
from contextlib import AsyncExitStack, suppress

import pytest
from aiokafka import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.stack import LocalStack
from libs.common.bus.control import control_message
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.follow import Follower
from libs.common.bus.kafka import KafkaBus
from libs.common.bus.kafka.consumer import KafkaConsumer
from libs.common.bus.kafka.limits import SESSION_TIMEOUT_MS
from libs.common.bus.kafka.source import identity, make_consumer
from libs.common.bus.ports import Message, Position
from libs.common.errors import Fenced, Retryable
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from schemas.event import Contract
from schemas.facts import Conversion
from schemas.topics import TOPICS, TopicKind
from tests.integration.bus.cluster import CLOCK, configs, state


async def test_topics_are_as_the_schemas_describe_them(admin: AIOKafkaAdminClient) -> None:
    """State topics are compacted; facts are deleted after their retention; records carry the time of sending,
    which may be an hour ahead. All of it is set on the topics, whatever the broker's defaults are."""
    for topic in TOPICS.values():
        found = await configs(admin, topic.name, its_own=True)
        assert found["min.insync.replicas"] == "1"
        assert found["message.timestamp.type"] == "CreateTime"
        assert found["message.timestamp.after.max.ms"] == "3600000"
        if topic.kind is TopicKind.STATE:
            assert found["cleanup.policy"] == "compact"
        else:
            assert (found["cleanup.policy"], found["retention.ms"]) == ("delete", str(topic.retention_ms))


class Slow(ConsumerRebalanceListener):  # type: ignore[misc]
    """Takes a second to let go, for which every rebalance has to wait."""

    async def on_partitions_revoked(self, revoked: object) -> None:
        await asyncio.sleep(1)

    def on_partitions_assigned(self, assigned: object) -> None:
        """Nothing to do."""


async def test_a_commit_during_a_rebalance_causes_no_other(
    bus: KafkaBus, kafka_bootstrap_servers: str
) -> None:
    """A member that commits all the time while another one joins, which takes long, sees the group's
    generation go up by one, not by two."""
    group, committed = secrets.token_hex(4), [0]
    committer, joiner = (bus.consumer(group=group, topics=["exposures"]) for _ in range(2))
    slow = make_consumer(kafka_bootstrap_servers, client_id="slow", group=group)

    async def read(member: KafkaConsumer) -> None:
        while True:
            await member.fetch(timeout_ms=20, max_records=10)
            if member is committer:
                with suppress(Fenced):
                    await member.commit(member.positions())
                    committed[0] += 1

    async with AsyncExitStack() as undo:
        for member in (committer, joiner):
            await member.start()
            undo.push_async_callback(member.stop)
            undo.callback(asyncio.ensure_future(read(member)).cancel)
            if member is committer:
                slow.subscribe(["exposures"], listener=Slow())
                await slow.start()
                undo.push_async_callback(slow.stop)
                await state(lambda: len(committer.assignment()) == 2)
                _, before = identity(committer._consumer)
        await state(lambda: bool(joiner.assignment()))
        enough = committed[0] + 2
        await state(lambda: committed[0] >= enough)
        assert identity(committer._consumer)[1] == before + 1


async def test_a_member_with_a_name_comes_back_to_its_share(
    bus: KafkaBus, kafka_bootstrap_servers: str
) -> None:
    """A member that is gone without a word and starts again under its name has its whole share well before
    the group would have missed it, and the member beside it never loses its own."""
    group, topics = secrets.token_hex(4), ["exposures"]
    other = bus.consumer(group=group, topics=topics)
    named = KafkaBus(kafka_bootstrap_servers, client_id="named", clock=CLOCK, member="worker-0")

    async def read(member: KafkaConsumer) -> None:
        while True:
            await member.fetch(timeout_ms=20, max_records=10)

    async with AsyncExitStack() as undo:
        members = [other, named.consumer(group=group, topics=topics)]
        for member in members:
            await member.start()
            undo.push_async_callback(member.stop)
            undo.callback(asyncio.ensure_future(read(member)).cancel)
        await state(lambda: [len(each.assignment()) for each in members] == [2, 2])
        share, (_, generation) = members[1].assignment(), identity(other._consumer)
        assert members[1]._consumer is not None
        members[1]._consumer._coordinator._coordination_task.cancel()  # silent, as if killed
        again = named.consumer(group=group, topics=topics)
        await again.start()
        undo.push_async_callback(again.stop)
        async with asyncio.timeout(SESSION_TIMEOUT_MS / 1_000 - 1):
            while again.assignment() != share:
                await again.fetch(timeout_ms=20, max_records=10)
        assert identity(other._consumer)[1] == generation


async def test_no_broker_is_retryable() -> None:
    """Where nothing listens every part says Retryable, leaves nothing behind, and may start again."""
    bus = KafkaBus("127.0.0.1:1", client_id="bus-test", clock=CLOCK)
    parts = (bus.producer(), bus.reader(["models"]), bus.consumer(group="g", topics=["models"]))
    for part in parts * 2:
        with pytest.raises(Retryable):
            await asyncio.wait_for(part.start(), 10)
    with pytest.raises(Retryable):
        await bus.admin().ensure_topics(["models"])


async def test_a_follower_and_a_producer_survive_the_death_of_the_broker(
    bus: KafkaBus, stack: LocalStack
) -> None:
    """Over a kill -9 of Kafka, all that was acknowledged is handled, and both go on by themselves: messages
    one by one, and lots of hundreds."""
    run = secrets.token_hex(4)
    handled: set[str] = set()

    async def handle(event: Contract) -> None:
        if isinstance(event, Conversion) and event.unit_id.startswith(run):
            handled.add(event.event_id)

    producer, health, stop = bus.producer(), Health(CLOCK), Stop()
    await producer.start()
    letters = DeadLetters(producer, source="bus-test", clock=CLOCK)
    follower = Follower(
        bus, group=run, handlers={"conversions": handle}, dead_letters=letters, clock=CLOCK, health=health
    )
    following = asyncio.ensure_future(follower.run(stop))
    acknowledged: set[str] = set()

    def message(name: str) -> Message:
        event = Conversion(event_id=name, occurred_at_ms=CLOCK.now_ms(), unit_id=name, name="x")
        return control_message("conversions", name, event, source="bus-test", clock=CLOCK)

    async def send(start: int) -> None:
        for name in [f"{run}-{number}" for number in range(start, start + 50)]:
            await producer.send(message(name))
            acknowledged.add(name)

    async def send_lots(start: int) -> None:
        for first in range(start, start + 3_000, 300):
            names = [f"{run}-lot-{number}" for number in range(first, first + 300)]
            answers = await producer.send_all([message(name) for name in names])
            acknowledged.update(
                name for name, answer in zip(names, answers, strict=True) if isinstance(answer, Position)
            )

    await asyncio.gather(send(0), send_lots(0))
    await state(lambda: handled >= acknowledged)
    killing = asyncio.ensure_future(asyncio.to_thread(stack.kill_kafka))
    await asyncio.gather(send(50), send_lots(3_000))
    await killing
    await asyncio.to_thread(stack.wait_ready)
    await asyncio.gather(send(100), send_lots(6_000))
    await state(lambda: handled >= acknowledged and health.ready())
    assert len(acknowledged) >= 150 + 6_000
    stop.set("the test is over")
    await following
    await producer.stop()


async def test_stopping_without_a_broker_does_not_hang(bus: KafkaBus, stack: LocalStack) -> None:
    """A process whose broker is gone can still leave: stopping takes no longer than its limit."""
    producer, member, reader = (
        bus.producer(),
        bus.consumer(group="leaver", topics=["models"]),
        bus.reader(["models"]),
    )
    for part in (producer, member, reader):
        await part.start()
    await asyncio.to_thread(stack.kill_kafka)
    try:
        async with asyncio.timeout(40):
            sending = asyncio.ensure_future(producer.send(Message("models", "k", b"{}")))
            for part in (member, reader, producer):
                await part.stop()
            await asyncio.wait({sending})
    finally:
        await asyncio.to_thread(stack.wait_ready)
    assert sending.exception() is None or isinstance(sending.exception(), Retryable)
