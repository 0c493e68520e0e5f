"""State and event commit together, in order, whoever dies."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise

import pytest

from libs.common.bus.memory import MemoryProducer
from libs.common.bus.ports import Message, Position
from libs.common.db.outbox import OutboxRelay, enqueue
from libs.common.errors import Misconfigured, Refused, Retryable
from libs.common.lifecycle import Stop
from tests.integration.db.ground import Ground, event, put, reach, sent


async def test_what_was_committed_is_sent(ground: Ground) -> None:
    """Events of a committed transaction are sent once, with key, value and headers; those of one that was
    rolled back never are."""
    await put(ground.pool, event("a", 1), Message("experiments", "gone", None))
    async with ground.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await enqueue(connection, event("a", 2))
        await transaction.rollback()
    async with ground.relay() as task:
        await reach(lambda: len(ground.bus.records("experiments")) == 2, task)
    first, tombstone = ground.bus.records("experiments")
    assert (first.key, first.value, first.headers) == (b"a", b"1", (("ce_id", b"a/1"),))
    assert (tombstone.key, tombstone.value) == (b"gone", None)
    assert (await ground.left(), ground.health.ready()) == (0, True)


async def test_woken_at_once(ground: Ground) -> None:
    """An event is on the bus well before the next poll."""
    async with ground.relay() as task:
        await reach(ground.health.ready, task)
        waits_ms = []
        for number in range(5):
            started_ms = ground.clock.monotonic_ms()
            await put(ground.pool, event("a", number))
            await reach(lambda expected=number + 1: len(sent(ground.bus)) == expected, task)
            waits_ms.append(ground.clock.monotonic_ms() - started_ms)
    assert sorted(waits_ms)[2] < 300


async def test_order_per_key(ground: Ground) -> None:
    """Many writers, one row and one key each time: events of a key come in the order in which its versions
    were committed, though the writers' transactions overlap."""

    async def change(key: str) -> None:
        async with ground.pool.acquire() as connection, connection.transaction():
            version = await connection.fetchval(
                "INSERT INTO orders VALUES ($1, 1)"
                " ON CONFLICT (id) DO UPDATE SET version = orders.version + 1 RETURNING version",
                key,
            )
            await enqueue(connection, event(key, version))

    async with ground.relay() as task:
        await asyncio.gather(*(change(f"order {number % 3}") for number in range(90)))
        await reach(lambda: len(sent(ground.bus)) >= 90, task)
    for key in ("order 0", "order 1", "order 2"):
        assert [number for name, number in sent(ground.bus) if name == key] == list(range(1, 31))


async def test_the_order_of_enqueue_without_a_row_between(ground: Ground) -> None:
    """Of two open transactions with events for one key, the second to enqueue waits for the first to end."""
    async with ground.pool.acquire() as first, ground.pool.acquire() as second:
        async with first.transaction():
            await enqueue(first, event("a", 1))

            async def later() -> None:
                async with second.transaction():
                    await enqueue(second, event("a", 2))

            task = asyncio.create_task(later())
            done, _ = await asyncio.wait({task}, timeout=0.2)
            assert not done
            await enqueue(first, event("a", 3))
        await task
    async with ground.relay() as task:
        await reach(lambda: len(sent(ground.bus)) == 3, task)
    assert sent(ground.bus) == [("a", 1), ("a", 3), ("a", 2)]


class Dying(MemoryProducer):
    """Publishes, and dies before it can say so."""

    @classmethod
    async def after(cls, ground: Ground, batches: int) -> "Dying":
        producer = cls(ground.bus._cluster, ground.clock)
        producer.batches = batches
        await producer.start()
        return producer

    batches = 0

    async def send_all(self, messages: Sequence[Message]) -> list[Position | Retryable | Refused]:
        answers = await super().send_all(messages)
        self.batches -= 1
        if self.batches == 0:
            raise KeyboardInterrupt
        return answers


@pytest.mark.parametrize("batches", [1, 2, 3, 5])
async def test_killed_between_publish_and_delete(ground: Ground, batches: int) -> None:
    """What was sent but not deleted is sent once more, right after itself: nothing is lost, and no reader
    ever sees an older event of a key after a newer one."""
    await put(ground.pool, *(event(f"key {number % 3}", number) for number in range(18)))
    relay = OutboxRelay(
        ground.pool, await Dying.after(ground, batches), clock=ground.clock, health=ground.health
    )
    with pytest.raises(KeyboardInterrupt):
        await drive(relay.run(Stop()))
    assert await ground.left() == 18 - 3 * (batches - 1)
    async with ground.relay() as task:
        await reach(lambda: len(sent(ground.bus)) == 21, task)
    assert await ground.left() == 0
    for key in range(3):
        numbers = [number for name, number in sent(ground.bus) if name == f"key {key}"]
        assert sorted(set(numbers)) == list(range(key, 18, 3))
        assert all(earlier <= later for earlier, later in pairwise(numbers))


async def drive(run: object) -> None:
    """Await without a task: a KeyboardInterrupt in a task ends the loop."""
    await run  # type: ignore[misc]


async def test_the_bus_is_away(ground: Ground) -> None:
    """While the bus does not answer, health says so, attempts are few, and everything is sent afterwards."""
    attempts = 0

    class Counted(MemoryProducer):
        async def send_all(self, messages: Sequence[Message]) -> list[Position | Retryable | Refused]:
            nonlocal attempts
            attempts += 1
            return await super().send_all(messages)

    producer = Counted(ground.bus._cluster, ground.clock)
    await producer.start()
    ground.bus.down()
    await put(ground.pool, event("a", 1), event("b", 1))
    started_ms = ground.clock.monotonic_ms()
    async with ground.relay(producer) as task:
        await reach(lambda: attempts >= 4, task)
        assert ground.clock.monotonic_ms() - started_ms > 300
        assert "no broker answers" in ground.health.reasons()["outbox"]
        ground.bus.up()
        await reach(lambda: len(sent(ground.bus)) == 2 and ground.health.ready(), task)
    assert attempts <= 7


async def test_one_relay_at_work(ground: Ground) -> None:
    """Of three relays one is at work and nothing is sent twice; when it dies another one goes on."""
    async with ground.relay() as first:
        await reach(ground.health.ready, first)
        async with ground.relay() as second, ground.relay() as third:
            for number in range(20):
                await put(ground.pool, event("a", number))
            await reach(lambda: len(sent(ground.bus)) >= 20, second, third)
            first.cancel()
            await put(ground.pool, event("a", 20))
            await reach(lambda: len(sent(ground.bus)) >= 21, second, third)
    assert sent(ground.bus) == [("a", number) for number in range(21)]


async def test_the_database_cuts_the_connection(ground: Ground) -> None:
    """A relay whose connection is lost opens another one and goes on."""
    async with ground.relay() as task:
        await reach(ground.health.ready, task)
        await ground.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        )
        await put(ground.pool, event("a", 1))
        await reach(lambda: sent(ground.bus) == [("a", 1)] and ground.health.ready(), task)


async def test_the_rest_is_sent_at_the_end(ground: Ground) -> None:
    """A relay that is told to stop sends what is there before it leaves."""
    async with ground.relay() as task:
        await reach(ground.health.ready, task)
        await put(ground.pool, *(event("a", number) for number in range(250)))
    assert sent(ground.bus) == [("a", number) for number in range(250)]
    assert await ground.left() == 0


async def test_refused_at_the_door(ground: Ground) -> None:
    """A topic that is not listed, a message that is too large and a call outside a transaction are refused
    before anything is written: they could never be sent."""
    async with ground.pool.acquire() as connection:
        with pytest.raises(RuntimeError, match="transaction"):
            await enqueue(connection, event("a", 1))
        async with connection.transaction():
            with pytest.raises(Misconfigured, match="no such topic"):
                await enqueue(connection, Message("experiment", "a", b""))
            with pytest.raises(Refused, match="larger than"):
                await enqueue(connection, Message("experiments", "a", bytes(1_000_001)))
    assert await ground.left() == 0


async def test_headers_are_text(ground: Ground) -> None:
    """Headers come back as they were, whatever they hold."""
    headers = {"traceparent": "00-abc-def-01", "strange": 'quote " and ü'}
    await put(ground.pool, Message("experiments", "a", b"1", headers))
    stored = await ground.pool.fetchval("SELECT headers FROM outbox")
    assert json.loads(stored) == headers
