"""Where the log of exposures ends at a moment."""

from collections.abc import Mapping

from libs.common.bus.ports import Bus

TOPIC = "exposures"


class LogEnds:
    """Asks the bus. Keeps the promise of `ports.LogEnds`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def __call__(self) -> Mapping[str, int]:
        """Return `topic-partition` to the offset that the next record will get. Raises Retryable."""
        reader = self._bus.reader((TOPIC,))
        await reader.start()
        try:
            ends = await reader.end_offsets(reader.assignment())
        finally:
            await reader.stop()
        return {f"{each.topic}-{each.partition}": offset for each, offset in ends.items()}
