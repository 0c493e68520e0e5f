"""Appends to the log: in bulk, or so many records a second, and remembers what it appended when."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from benchmarks.log import BATCH_BYTES
from benchmarks.measures.slices import Place, Records
from libs.common.clock import Clock

TICK_MS = 50


class Appended(NamedTuple):
    """Records that went out together."""

    place: Place
    first_offset: int
    tick: int
    sent_ms: float
    """By the monotonic clock, before the broker had them."""
    values: tuple[bytes, ...]


@dataclass(eq=False)
class Writer:
    """One producer. `ends` has the offset after the last record of each partition that it wrote to: nobody
    else may write there."""

    producer: AIOKafkaProducer
    clock: Clock
    ends: dict[Place, int] = field(default_factory=dict)

    @property
    def written(self) -> int:
        """How many records there are."""
        return sum(self.ends.values())

    async def write(self, records: Records) -> None:
        """Append these in large batches."""
        for place, pairs in records.items():
            rest: Sequence[tuple[bytes, bytes]] = pairs
            while rest:
                rest = rest[await self._send(place, rest) :]
        await self.producer.flush()

    async def pace(self, ticks: Iterable[Records]) -> list[Appended]:
        """Append what `ticks` has, one entry every 50 ms, to its end. An entry is asked for when it is due;
        who is late catches up."""
        began_ms, found = self.clock.monotonic_ms(), list[Appended]()
        for number, records in enumerate(ticks):
            sent_ms = self.clock.monotonic_ms()
            for place, pairs in records.items():
                values = tuple(value for _, value in pairs)
                found.append(Appended(place, self.ends.get(place, 0), number, sent_ms, values))
                if await self._send(place, pairs) < len(pairs):
                    raise ValueError("more in a tick than a batch takes")
            wait_ms = began_ms + (number + 1) * TICK_MS - self.clock.monotonic_ms()
            await asyncio.sleep(max(wait_ms, 0) / 1_000)
        await self.producer.flush()
        return found

    async def _send(self, place: Place, pairs: Sequence[tuple[bytes, bytes]]) -> int:
        """Send as many as one batch takes, and return how many these were."""
        batch, count, now_ms = self.producer.create_batch(), 0, self.clock.now_ms()
        for key, value in pairs:
            if batch.append(key=key, value=value, timestamp=now_ms) is None:
                break
            count += 1
        await self.producer.send_batch(batch, place[0], partition=place[1])
        self.ends[place] = self.ends.get(place, 0) + count
        return count


@asynccontextmanager
async def writer(servers: str, clock: Clock) -> AsyncIterator[Writer]:
    """A writer to a broker whose unit-keyed topics are empty."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, max_batch_size=BATCH_BYTES, enable_idempotence=True
    )
    await producer.start()
    try:
        yield Writer(producer, clock)
    finally:
        await producer.stop()
