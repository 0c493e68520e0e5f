"""Exposures to the bus, acknowledged."""

import asyncio

from libs.common.bus.ports import Message, Producer
from libs.common.errors import Retryable
from schemas.facts import Exposure


class BusExposures:
    """Keeps the promise of `ports.Exposures`, within `deadline_ms`."""

    def __init__(self, producer: Producer, *, deadline_ms: int) -> None:
        self._producer = producer
        self._deadline_ms = deadline_ms

    async def publish(self, exposure: Exposure) -> None:
        """Return once it is acknowledged. Past the deadline it raises Retryable; it may still arrive."""
        try:
            async with asyncio.timeout(self._deadline_ms / 1_000):
                await self._producer.send(Message("exposures", exposure.unit_id, exposure.to_json()))
        except TimeoutError as error:
            raise Retryable(f"no acknowledgement within {self._deadline_ms} ms") from error
