"""A process's life: start, run until told to stop, drain within a deadline, leave with an honest exit code.

```
def main() -> int:
    try:
        settings = load(Config)
    except Misconfigured as error:
        return refuse(error)
    return run(bootstrap(settings), drain_deadline_ms=settings.drain_deadline_ms)
```
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from libs.common.errors import Misconfigured, Retryable

log = logging.getLogger(__name__)

EXIT_DRAINED = 0
EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2


class Stop:
    """The wish that the process ends. It is set once and stays; the first reason is kept."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask everybody to finish what they are at. To be called in the event loop's thread."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    def is_set(self) -> bool:
        """Return True once the end was asked for."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return when the end is asked for."""
        await self._event.wait()

    async def sleep(self, ms: float) -> bool:
        """Pause for `ms` milliseconds, less when the end is asked for. Returns True if it was."""
        try:
            await asyncio.wait_for(self._event.wait(), max(ms, 0) / 1_000)
        except TimeoutError:
            return self._event.is_set()
        return True


def run(main: Callable[[Stop], Awaitable[None]], *, drain_deadline_ms: int) -> int:
    """Run `main` in a fresh event loop until it returns. SIGTERM and SIGINT set its Stop.

    Once that is set, `main` has `drain_deadline_ms` to return, then it is cancelled. Returns the exit code:
    0 when it returned, 2 after one clear line when it raised Misconfigured, 1 (logged) otherwise.
    """
    with asyncio.Runner() as runner:
        return runner.run(_live(main, drain_deadline_ms))


def refuse(error: Misconfigured) -> int:
    """Say in one line what a person must change, and return the exit code for it: 2."""
    log.critical("%s%s", error.message, f" ({error.next_step})" if error.next_step else "")
    return EXIT_MISCONFIGURED


async def supervise(stop: Stop, **tasks: Awaitable[None]) -> None:
    """Run named tasks side by side until all have returned.

    The first that fails sets `stop` with its name, so that the others finish what they are at; when they
    have, its error is raised. Whoever is cancelled cancels all of them.
    """
    running = {asyncio.ensure_future(task): name for name, task in tasks.items()}
    first: BaseException | None = None
    pending = set(running)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                first = _hear(stop, running[task], task, first)
    finally:
        await _cancel(pending)
        if first is not None:
            raise first


def _hear(
    stop: Stop, name: str, task: asyncio.Future[None], first: BaseException | None
) -> BaseException | None:
    error = asyncio.CancelledError(f"{name} was cancelled") if task.cancelled() else task.exception()
    if error is None:
        return first
    log.error("%s failed: %s: %s", name, type(error).__name__, error)
    stop.set(f"{name} failed")
    return first or error


async def give_up(*tasks: asyncio.Future[Any], what: str) -> None:
    """Cancel these and return when they have ended. What had failed before, and was no outage, is logged:
    nobody else asks."""
    for task in tasks:
        task.cancel()
    for answer in await asyncio.gather(*tasks, return_exceptions=True):
        expected = isinstance(answer, asyncio.CancelledError | Retryable)
        if isinstance(answer, BaseException) and not expected:
            log.error("%s, given up, had failed: %s", what, answer, exc_info=answer)


async def _cancel(tasks: Iterable[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _live(main: Callable[[Stop], Awaitable[None]], drain_deadline_ms: int) -> int:
    stop = Stop()
    loop = asyncio.get_running_loop()
    # A second signal changes nothing: Ctrl-C reaches the whole process group, and the supervisor's SIGTERM
    # follows. What does not drain in time is ended by the deadline.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set, signal.Signals(number).name)
    task = asyncio.ensure_future(main(stop))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done() and not task.done():
        log.info("stopping: %s", stop.reason)
        await asyncio.wait({task}, timeout=drain_deadline_ms / 1_000)
    overdue = not task.done()
    await _cancel([each for each in (task, stopping) if not each.done()])
    if overdue:
        log.error("not drained within %d ms: cancelled", drain_deadline_ms)
    return _exit_code(task, overdue)


def _exit_code(task: asyncio.Future[None], overdue: bool) -> int:
    if task.cancelled():
        return EXIT_FAILED
    error = task.exception()
    if isinstance(error, Misconfigured):
        return refuse(error)
    if error is not None:
        log.critical("the process ends: %s", error, exc_info=error)
        return EXIT_FAILED
    return EXIT_FAILED if overdue else EXIT_DRAINED
