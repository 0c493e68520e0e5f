"""Apache Kafka and PostgreSQL as the embedded stack runs them."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.cleanup import leftovers
from deploy.local.errors import StackError
from deploy.local.homes import Home
from deploy.local.stack import LocalStack
from deploy.local.state import PartRecord, read_record

EMBEDDED = not any(os.environ.get(name) for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "STACK"))
embedded_only = pytest.mark.skipif(not EMBEDDED, reason="somebody else runs Kafka or PostgreSQL")


async def test_each_module_gets_an_empty_database_of_its_own(stack: LocalStack, database_url: str) -> None:
    """The fixture's database is not the stack's, and holds no table."""
    assert database_url != stack.database_url
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
    finally:
        await connection.close()


async def test_the_database_refuses_who_does_not_know_the_password(stack: LocalStack) -> None:
    """Anyone on the machine can reach a loopback port; the data is this user's alone."""
    with pytest.raises(asyncpg.PostgresError):
        await asyncpg.connect(stack.database_url.replace("://trimtab:", "://trimtab:not"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalStack, Path]]:
    """A second stack beside the shared one, on other ports, to be killed and stopped."""
    home = tmp_path_factory.mktemp("own") / ("a-long-path-" * 12)
    with LocalStack.start(home) as running:
        yield running, home


def processes(home: Path) -> list[PartRecord]:
    """What the stack in this folder says that it runs."""
    record = read_record(Home(home).state_file)
    assert record is not None
    return [part for part in record.parts if part.pid]


async def produce(servers: str, topic: str, value: bytes) -> None:
    """Writes one record, with patience for a node that is coming back."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, partition=0)
    finally:
        await producer.stop()


async def values(servers: str, topic: str, count: int) -> list[bytes | None]:
    """The first records of a topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await asyncio.wait_for(consumer.getone(), 30)).value for _ in range(count)]
    finally:
        await consumer.stop()


@embedded_only
async def test_kafka_answers_again_after_a_kill_and_has_lost_nothing(own: tuple[LocalStack, Path]) -> None:
    """After kill -9 the supervisor starts it on the same port, with what was acknowledged before."""
    stack, _ = own
    servers, topic = stack.kafka_bootstrap_servers, f"kept-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    await produce(servers, topic, b"before")
    await asyncio.to_thread(stack.kill_kafka)
    await asyncio.to_thread(stack.wait_ready)
    await produce(servers, topic, b"after")
    assert stack.kafka_bootstrap_servers == servers
    assert await values(servers, topic, 2) == [b"before", b"after"]


@embedded_only
async def test_postgres_answers_again_after_a_kill_and_has_lost_nothing(own: tuple[LocalStack, Path]) -> None:
    """What was committed before kill -9 is there afterwards."""
    stack, _ = own
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await asyncio.to_thread(stack.kill_postgres)
    await asyncio.to_thread(stack.wait_ready)
    await connection.close(timeout=5)
    again = await asyncpg.connect(stack.database_url)
    assert await again.fetchval("SELECT answer FROM kept") == 42
    await again.close()


@embedded_only
def test_an_orderly_restart_counts_as_no_death(own: tuple[LocalStack, Path]) -> None:
    """Restarts on purpose may be as many as one likes, and each gives a new process."""
    stack, home = own
    before = {part.name: part.pid for part in processes(home)}
    stack.restart_kafka()
    stack.restart_postgres()
    after = {part.name: part.pid for part in processes(home)}
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


@embedded_only
def test_one_folder_has_one_supervisor(own: tuple[LocalStack, Path]) -> None:
    """A second stack on the same data would corrupt it, so it is refused, saying who runs there."""
    with pytest.raises(StackError, match=f"already runs .*process {os.getpid()}"):
        LocalStack.start(own[1])


@embedded_only
def test_a_stopped_stack_leaves_no_process_and_no_port(own: tuple[LocalStack, Path]) -> None:
    """Stopping waits for every process, and may be said twice."""
    stack, home = own
    ran = processes(home)
    stack.stop()
    stack.stop()
    assert [part.name for part in ran] == ["kafka", "postgres"]
    assert [leftovers(part) for part in ran] == [[], []]
    assert read_record(Home(home).state_file) is None


def test_docker_is_refused_where_no_engine_answers(tmp_path: Path) -> None:
    """The message says what to do instead."""
    told = {"STACK": "docker", "DOCKER_HOST": "tcp://127.0.0.1:9"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", told["DOCKER_HOST"])
        with pytest.raises(StackError, match=r"no Docker engine answers[\s\S]*unset STACK"):
            LocalStack.start(tmp_path, environment=told)


def test_an_address_where_nothing_answers_is_named(tmp_path: Path) -> None:
    """A given address is not replaced by an embedded part behind the user's back."""
    told = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "DATABASE_URL": "postgresql://u:p@127.0.0.1:9/d"}
    with pytest.raises(StackError, match=r"names 127\.0\.0\.1:9, where nothing answers"):
        LocalStack.start(tmp_path, environment=told)
