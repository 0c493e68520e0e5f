"""What the tests of the outbox stand on: a bus in memory, relays, and waiting for a state."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.common.bus.memory import MemoryBus, MemoryProducer
from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from libs.common.db.outbox import OutboxRelay, enqueue
from libs.common.db.pool import Pool
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health


def event(key: str, number: int) -> Message:
    """Return the event of a key with this number."""
    return Message("experiments", key, b"%d" % number, {"ce_id": f"{key}/{number}"})


async def put(pool: Pool, *messages: Message) -> None:
    """Commit these messages in one transaction."""
    async with pool.acquire() as connection, connection.transaction():
        for message in messages:
            await enqueue(connection, message)


def sent(bus: MemoryBus) -> list[tuple[str, int]]:
    """Return the key and number of what the bus has."""
    return [
        (record.key.decode(), int(record.value))
        for record in bus.records("experiments")
        if record.key is not None and record.value is not None
    ]


async def reach(condition: object, *tasks: asyncio.Task[None]) -> None:
    """Wait until a condition holds, at most 20 s, while the tasks go on."""
    assert callable(condition)
    async with asyncio.timeout(20):
        while not condition():
            for task in tasks:
                if task.done():
                    await task
            await asyncio.sleep(0.005)


class Ground:
    """A bus in memory, and relays from the outbox to it."""

    def __init__(self, pool: Pool, clock: SystemClock) -> None:
        self.pool, self.clock = pool, clock
        self.bus, self.health = MemoryBus(clock), Health(clock)

    async def producer(self) -> MemoryProducer:
        """Return a started producer."""
        producer = self.bus.producer()
        await producer.start()
        return producer

    @asynccontextmanager
    async def relay(self, producer: MemoryProducer | None = None) -> AsyncIterator[asyncio.Task[None]]:
        """Run one relay as long as the block lasts."""
        stop = Stop()
        relay = OutboxRelay(
            self.pool, producer or await self.producer(), clock=self.clock, health=self.health
        )
        task = asyncio.create_task(relay.run(stop))
        try:
            yield task
        except BaseException:
            task.cancel()
            raise
        finally:
            stop.set("the test is over")
            await asyncio.gather(task, return_exceptions=True)

    async def left(self) -> int:
        """Return how many events wait."""
        count: int = await self.pool.fetchval("SELECT count(*) FROM outbox")
        return count
