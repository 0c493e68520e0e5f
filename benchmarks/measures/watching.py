"""Reads a control topic while something else goes on, and remembers when each event came to be seen."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from libs.common.bus.kafka import KafkaBus
from libs.common.clock import Clock

PATIENCE_MS = 100
MAX_RECORDS = 1_000


class Seen(NamedTuple):
    """An event, and when it was seen by the monotonic clock."""

    at_ms: float
    body: dict[str, Any]
    """Its JSON."""


@asynccontextmanager
async def watching(servers: str, topic: str, clock: Clock) -> AsyncIterator[list[Seen]]:
    """What comes on a topic from its beginning, as a list that grows for as long as the block lasts."""
    reader = KafkaBus(servers, client_id="measure", clock=clock).reader([topic])
    await reader.start()
    seen: list[Seen] = []

    async def watch() -> None:
        while True:
            found = await reader.fetch(timeout_ms=PATIENCE_MS, max_records=MAX_RECORDS)
            at_ms = clock.monotonic_ms()
            for batch in found.values():
                seen.extend(Seen(at_ms, json.loads(value)) for value in batch.values if value is not None)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await reader.stop()
