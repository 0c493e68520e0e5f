"""Writes what is to be published beside the loop, of all partitions at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Generic, NamedTuple

from libs.common.errors import Fenced, Retryable
from libs.common.lifecycle import give_up
from libs.common.partitions.burial import Burial
from libs.common.partitions.held import Held
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.ports import Lease, PartitionStore, RowsT

SLOW_MS = 5_000
"""A write that takes longer is `trouble`."""
LONGEST_MS = 60_000
"""A write that has taken so long is given up and tried again, as after an outage."""


class _Write(NamedTuple):
    task: asyncio.Task[bool]
    began_ms: float


class Publisher(Generic[RowsT]):
    """Takes the rows of a partition at one moment and writes them while folding goes on.

    One write of a partition is under way at a time. A store that does not answer holds nobody up: the rows
    wait, one set for each partition, and `trouble` says why. So they do for the burial of what lies before
    them. Who is fenced has lost that partition.
    """

    def __init__(self, store: PartitionStore[RowsT], own: Ownership[RowsT], burial: Burial[RowsT]) -> None:
        self._store = store
        self._own = own
        self._burial = burial
        self._writes: dict[Held[RowsT], _Write] = {}
        self._troubles: dict[Held[RowsT], str] = {}

    @property
    def trouble(self) -> str:
        """What keeps us from writing; empty: nothing."""
        return next(iter(self._troubles.values()), "") or next(self._slow(), "")

    def publish(self) -> None:
        """Begin to write what every partition has to publish now. One whose last rows are still on their way
        has its turn the next time. Raises what `check` raises."""
        self.check()
        ours = self._own.held.values()
        self._troubles = {held: why for held, why in self._troubles.items() if held in ours}
        for held in ours:
            if held not in self._writes and held.prepare():
                self._begin(held, partial(self._write, held))

    def renew(self) -> None:
        """Begin to tell the store that we are at work, so that we learn early of what is ours no more. A
        write says it too, so rows that wait go instead: what is under way for a partition that has such rows
        is always their write, which a snapshot waits for. Raises what `check` raises."""
        self.check()
        for held in self._own.held.values():
            if held not in self._writes:
                renew = partial(self._store.renew, held.lease)
                self._begin(held, partial(self._write, held) if held.unwritten else renew)

    def under_way(self, held: Held[RowsT]) -> asyncio.Task[bool] | None:
        """Return the write of `held` that has begun and that `check` has not seen the end of: its result says
        whether the store took it."""
        write = self._writes.get(held)
        return write and write.task

    def check(self) -> None:
        """Raise what ended a write, if that was neither a fence nor an outage: a defect."""
        for held, write in list(self._writes.items()):
            if write.task.done():
                del self._writes[held]
                write.task.result()

    async def end(self) -> None:
        """Wait for every write under way. Raises what `check` raises."""
        if self._writes:
            await asyncio.wait([each.task for each in self._writes.values()])
        self.check()

    async def cancel(self) -> None:
        """Give up the writes under way. Whether the store took their rows is not known: they are the first to
        be written when the partition comes back, and replayed when it does not."""
        await give_up(*(each.task for each in self._writes.values()), what="a publish")
        self._writes.clear()
        self._troubles.clear()

    def _begin(self, held: Held[RowsT], write: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._attempt(held, held.lease, write))
        self._writes[held] = _Write(task, self._own.clock.monotonic_ms())

    async def _write(self, held: Held[RowsT]) -> None:
        await self._burial.behind(held)
        await held.write(self._store)

    def _slow(self) -> Iterator[str]:
        now_ms = self._own.clock.monotonic_ms()
        for held, write in self._writes.items():
            if now_ms - write.began_ms >= SLOW_MS and not write.task.done():
                yield f"partition {held.lease.partition}: its rows are under way for over {SLOW_MS} ms"

    async def _attempt(self, held: Held[RowsT], lease: Lease, write: Callable[[], Awaitable[None]]) -> bool:
        """Return True when the store took it."""
        try:
            async with asyncio.timeout(LONGEST_MS / 1_000):
                await write()
        except Fenced as error:
            self._own.lose(held, lease, error)
        except Retryable as error:
            self._troubles[held] = error.message
        except TimeoutError:
            self._troubles[held] = f"partition {lease.partition}: its rows were under way for {LONGEST_MS} ms"
        else:
            self._troubles.pop(held, None)
            return True
        return False
