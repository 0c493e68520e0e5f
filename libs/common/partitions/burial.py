"""Sends what could not be folded to the dead letters, while the line goes on."""

import asyncio
from itertools import islice
from typing import Generic

from libs.common.bus.dead_letters import DeadLetters
from libs.common.lifecycle import give_up
from libs.common.partitions.held import Held
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.ports import RowsT

AT_ONCE = 500
"""Dead letters that wait for the broker together, of each partition."""
MOST = 1_000
"""Dead letters that may wait while records are read on."""


class Burial(Generic[RowsT]):
    """Letters on their way. Only so many wait before the line does, and what lies beyond poison is written
    when that is buried."""

    def __init__(self, dead_letters: DeadLetters, own: Ownership[RowsT]) -> None:
        self._dead_letters = dead_letters
        self._own = own
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def keep_up(self) -> None:
        """See to it that what there is goes out, and wait only where there is too much of it. Raises what
        `end` raises."""
        waiting = sum(len(held.passages) for held in self._own.held.values())
        if waiting > MOST or (self._task is not None and self._task.done()):
            await self.end()
        if waiting and self._task is None:
            self._task = asyncio.create_task(self.bury())

    async def end(self) -> None:
        """Wait for what was begun. Raises LineStopped for too much poison, Retryable when no broker takes it:
        it then waits for the next time."""
        if self._task is not None:
            task, self._task = self._task, None
            await task

    async def bury(self) -> None:
        """Bury what there is: of all partitions in one go, as each waits for the broker. Raises likewise."""
        while True:
            waiting = [
                (held, list(islice(held.passages, AT_ONCE)))
                for held in self._own.held.values()
                if held.passages
            ]
            if not waiting:
                return
            done = await self._dead_letters.bury_many([each for _, lot in waiting for each in lot])
            for held, lot in waiting:
                for _ in lot[:done]:
                    held.passages.popleft()
                done -= min(done, len(lot))
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    async def behind(self, held: Held[RowsT]) -> None:
        """Return when all poison is buried that the rows which were taken of `held` lie beyond."""
        while not held.buried():
            await self._moved.wait()

    async def cancel(self) -> None:
        """Let go of what was begun: who takes over finds it in the log."""
        if self._task is not None:
            await give_up(self._task, what="a burial")
            self._task = None
