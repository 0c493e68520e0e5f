"""Waits for a state, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.pinned import Pinned

DEADLINE_S = 60.0
LOOK_S = 0.02


class NotMeasured(Exception):
    """There is no figure; says why."""


async def wait_for(
    condition: Callable[[], bool], process: Pinned, *, what: str, deadline_s: float = DEADLINE_S
) -> None:
    """Return when the condition holds. Raises NotMeasured when the process ends before, or the time does."""

    async def holds() -> bool:
        return condition()

    await reach(holds, process, what=what, deadline_s=deadline_s)


async def reach(
    condition: Callable[[], Awaitable[bool]], process: Pinned, *, what: str, deadline_s: float = DEADLINE_S
) -> None:
    """Do the same with a condition that has to be asked for."""
    try:
        async with asyncio.timeout(deadline_s):
            while not await condition():
                if not process.running:
                    raise NotMeasured(f"{what}: a process has ended; see its log")
                await asyncio.sleep(LOOK_S)
    except TimeoutError as error:
        raise NotMeasured(f"{what} did not come within {deadline_s:.0f} s; see the logs") from error
