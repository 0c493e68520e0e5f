"""Starts the parts in the order of their needs, keeps them alive, and stops them in reverse."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from deploy.local.errors import StackError
from deploy.local.keeper import Keeper, PartState, Surroundings
from deploy.local.logs import StackLogs
from deploy.local.parts import Part

TICK_S = 0.05


class Supervisor:
    """All parts of one stack. Its methods belong to one event loop, in a thread that outlives the parts."""

    def __init__(
        self,
        parts: Sequence[Part],
        environment: Mapping[str, str],
        logs: StackLogs,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._on_change = on_change or (lambda: None)
        around = Surroundings(environment, logs, self._changed, self._all_ready)
        self._moved = asyncio.Event()
        self.keepers = {part.name: Keeper(part, around) for part in parts}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begins to start everything; `wait_ready` tells when it is done."""
        self._tasks = {name: asyncio.create_task(keeper.keep()) for name, keeper in self.keepers.items()}

    async def wait_ready(self, timeout_s: float = 300.0) -> None:
        """Returns when every part is ready; raises StackError as soon as one has failed for good."""
        deadline_s = time.monotonic() + timeout_s
        while not all(keeper.state is PartState.READY for keeper in self.keepers.values()):
            self.raise_failed()
            if time.monotonic() > deadline_s:
                late = ", ".join(k.part.name for k in self.keepers.values() if k.state is not PartState.READY)
                raise StackError(f"Not ready within {timeout_s:.0f} s: {late}.")
            await self._next_change()

    def raise_failed(self) -> None:
        """Raises StackError with the problem and the last lines of a part that failed for good."""
        for keeper in self.keepers.values():
            if keeper.state is PartState.FAILED:
                raise StackError(keeper.problem)

    async def wait_failed(self) -> None:
        """Never returns while all is well; raises StackError when a part has failed for good."""
        while True:
            self.raise_failed()
            await self._next_change()

    async def stop(self) -> None:
        """Stops everything, those that others wait for last; returns when no process is left."""
        for wave in stop_waves([keeper.part for keeper in self.keepers.values()]):
            await asyncio.gather(*(self._stop_one(name) for name in wave))

    def kill(self, name: str) -> None:
        """Kill -9 of one part, as a crash would; it is started again."""
        self._own(name).kill()

    async def restart_and_wait(self, name: str, timeout_s: float) -> None:
        """Orderly restart of one part; returns when it is ready again."""
        keeper = self._own(name)
        before, deadline_s = keeper.starts, time.monotonic() + timeout_s
        keeper.restart()
        while keeper.starts == before or keeper.state is not PartState.READY:
            self.raise_failed()
            if time.monotonic() > deadline_s:
                raise StackError(f"{name} was not ready within {timeout_s:.0f} s of its restart.")
            await self._next_change()

    def _own(self, name: str) -> Keeper:
        keeper = self.keepers.get(name)
        if keeper is None or keeper.part.external:
            raise StackError(f"{name} is not run by this stack, so it cannot be killed or restarted here.")
        return keeper

    async def _stop_one(self, name: str) -> None:
        task = self._tasks.get(name)
        if task is None:
            return
        keeper = self.keepers[name]
        await keeper.stop()
        if keeper.child is None:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for port in keeper.part.ports:
            port.forget()

    async def _all_ready(self, names: tuple[str, ...]) -> None:
        while not all(self.keepers[n].state is PartState.READY for n in names if n in self.keepers):
            await self._next_change()

    def _changed(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
        self._on_change()

    async def _next_change(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), 1.0)


def stop_waves(parts: Sequence[Part]) -> list[list[str]]:
    """Names in the order of stopping: a part's turn comes only after all that wait for it have stopped."""
    left = {part.name: set(part.waits_for) for part in parts}
    waves = []
    while left:
        needed = set().union(*left.values())
        wave = [name for name in left if name not in needed] or list(left)
        waves.append(wave)
        left = {name: needs for name, needs in left.items() if name not in wave}
    return waves
