"""A dump that is being taken while its state goes on folding."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from libs.common.partitions.counts import counted
from libs.common.partitions.ports import Lease
from libs.common.partitions.snapshots import Sealer, Snapshot


@dataclass(frozen=True, slots=True)
class Dump:
    """The chunks of one state, and where that state stood when they were asked for."""

    lease: Lease
    offsets: dict[str, int]
    chunks: Iterator[bytes]
    partitions: int | None = None
    """How many its topics had when the state was built; None: not known."""

    async def seal(self, wanted: Callable[[], bool]) -> Snapshot | None:
        """Return the sealed snapshot; None when it was `wanted` no longer before the last chunk.

        Chunks are made in the event loop, which is free between two of them; compressing them is a thread's
        work. Raises Refused when it becomes too large. The dump is closed in any case.
        """
        sealer = Sealer(self.lease.partition, counted(self.offsets, self.partitions))
        try:
            for chunk in self.chunks:
                await asyncio.to_thread(sealer.add, chunk)
                if not wanted():
                    return None
            return await asyncio.to_thread(sealer.sealed)
        finally:
            self.close()

    def close(self) -> None:
        """Tell the state that no more chunks are wanted. Once is enough, twice does no harm."""
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()
