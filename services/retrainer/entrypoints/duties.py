"""What one process at a time sees to, whether events come or not: runs that are due, and the registry.

The work waits in the record. Whoever holds a duty takes it on from there; when that process dies, the next
one does. MLflow being away makes the registry's duty wait: the worker is ready all the same, and logs it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.errors import Conflict, Misconfigured, Retryable
from libs.common.lifecycle import Stop
from libs.common.retry import Backoff
from libs.common.telemetry.health import Health
from services.retrainer.domain.runs import Run
from services.retrainer.handlers.advance_run import AdvanceRun
from services.retrainer.handlers.register_version import RegisterVersion
from services.retrainer.handlers.set_aliases import SetAliases
from services.retrainer.ports import Store

log = logging.getLogger(__name__)

LONGEST_PAUSE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Duties:
    """What both duties share."""

    store: Store
    clock: Clock
    health: Health
    interval_ms: int

    async def keep(self, duty: str, work: Callable[[], Awaitable[None]], stop: Stop) -> None:
        """Do `work` again and again until `stop`, in one process of all. Retryable out of `leading` means
        that the record is away; `work` sees to its own troubles."""
        backoff = Backoff(first_ms=self.interval_ms, max_ms=LONGEST_PAUSE_MS)
        while not stop.is_set():
            try:
                async with self.store.leading(duty) as lead:
                    while not stop.is_set():
                        if await lead.held():
                            await work()
                        self.health.ok(duty)
                        backoff.reset()
                        await stop.sleep(self.interval_ms)
            except (Retryable, Conflict) as error:
                self.health.failing(duty, error.message)
                log.warning("%s: %s", duty, error.message)
                await stop.sleep(backoff.next_ms())


async def keep_runs(duties: Duties, advance: AdvanceRun, stop: Stop) -> None:
    """Take every run that is due its next step. A step that is under way at `stop` is broken off: its child
    is ended, and the next process takes the step again."""

    async def work() -> None:
        for run in await duties.store.due_runs(duties.clock.now_ms()):
            if not await _unless(stop, _step(advance, run)):
                return

    await duties.keep("runs", work, stop)


async def keep_registry(
    duties: Duties, register: RegisterVersion, set_aliases: SetAliases, stop: Stop
) -> None:
    """Carry out the queue of registrations in its order, then let the aliases follow."""
    backoff = Backoff(first_ms=duties.interval_ms, max_ms=LONGEST_PAUSE_MS)

    async def serve() -> None:
        for registration in await duties.store.registrations():
            await register(registration)
        for state in await duties.store.unaliased():
            await set_aliases(state)

    async def work() -> None:
        try:
            if not await _unless(stop, serve()):
                return
        except Retryable as error:
            log.warning("the registry waits: %s", error.message)
            await stop.sleep(backoff.next_ms())
        else:
            backoff.reset()

    await duties.keep("registry", work, stop)


async def _step(advance: AdvanceRun, run: Run) -> None:
    try:
        await advance(run)
    except (Retryable, Misconfigured):
        raise
    except Conflict as error:
        log.info("%s", error.message)
    except Exception as error:
        # A defect costs an attempt of this run, not the worker: after the last one the run has failed.
        log.exception("retraining %s: the step failed", run.id)
        await advance.crashed(run, f"{type(error).__name__}: {error}")


async def _unless(stop: Stop, work: Awaitable[None]) -> bool:
    """Work to the end, or break off when `stop` comes first. Returns True when the work is done."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
    if working.cancelled():
        return False
    working.result()
    return True
