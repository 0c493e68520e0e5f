"""Sends what could not be folded to the dead letters, while the line goes on."""

import asyncio
from itertools import islice
from typing import Generic

from libs.common.bus.dead_letters import DeadLetters
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.ports import RowsT

AT_ONCE = 500
"""Dead letters that wait for the broker together."""


class Burial(Generic[RowsT]):
    """Letters on their way. At most one fetch is taken in beyond poison that is not buried, and nothing is
    published of it."""

    def __init__(self, dead_letters: DeadLetters, own: Ownership[RowsT]) -> None:
        self._dead_letters = dead_letters
        self._own = own
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to bury what there is. Only after `end`."""
        if any(held.passages for held in self._own.held.values()):
            self._task = asyncio.create_task(self.bury())

    async def end(self) -> None:
        """Wait for what was begun. Raises LineStopped for too much poison, Retryable when no broker takes it:
        it then waits for the next time."""
        if self._task is not None:
            task, self._task = self._task, None
            await task

    async def bury(self) -> None:
        """Bury what there is. Raises likewise."""
        for held in list(self._own.held.values()):
            while held.passages:
                for _ in range(await self._dead_letters.bury_many(list(islice(held.passages, AT_ONCE)))):
                    held.passages.popleft()

    async def cancel(self) -> None:
        """Let go of what was begun: who takes over finds it in the log."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
