"""Keeps one part alive: waits for what it needs, starts it, sees it ready, starts it again when it dies."""

import asyncio
import contextlib
import enum
import math
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from deploy.local.backoff import Restarts
from deploy.local.errors import StackError
from deploy.local.leash import NOT_RUNNABLE
from deploy.local.logs import StackLogs
from deploy.local.parts import Part
from deploy.local.processes import Child

TICK_S = 0.05
EXTERNAL_DEADLINE_S = 5.0
SHOWN_LINES = 20
SHOWN_CHARS = 500


class PartState(enum.StrEnum):
    """The life of a part, in order."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Surroundings:
    """What all keepers of a supervisor share."""

    environment: Mapping[str, str]
    logs: StackLogs
    on_change: Callable[[], None]
    wait_for: Callable[[tuple[str, ...]], Awaitable[None]]


class Keeper:
    """Runs in the event loop as one task, `keep`. Everything else here may be called while it runs."""

    def __init__(self, part: Part, around: Surroundings) -> None:
        self.part = part
        self.state = PartState.WAITING
        self.problem = ""
        self.starts = 0
        self.child: Child | None = None
        self.ready_after_s: float | None = None
        self._around = around
        self._restarts = Restarts()
        self._began_s = time.monotonic()
        self._asked_to_stop = asyncio.Event()
        self._asked_to_restart = False

    async def keep(self) -> None:
        """Returns when the part was asked to stop; or fails for good, with `problem` telling why."""
        try:
            await self._around.wait_for(self.part.waits_for)
            if self.part.external:
                await self._watch_external()
                return
            await self._prepare()
            while not self._asked_to_stop.is_set():
                await self._run_once()
        except (StackError, OSError, subprocess.SubprocessError) as error:
            self._fail(str(error))
        finally:
            self._end()

    async def stop(self) -> None:
        """Asks for an orderly end; the wait is `keep`'s."""
        self._asked_to_stop.set()
        if self.child is not None and self.child.exit_code() is None:
            self._change(PartState.STOPPING)
            self.child.send(self.part.stop_signal)

    def restart(self) -> None:
        """An orderly end and a new start, which counts as no death. A part that is down starts anyway."""
        if self.child is not None:
            self._asked_to_restart = True
            self.child.send(self.part.stop_signal)

    def kill(self) -> None:
        """What a crash does: ends the process and its children at once. It will be started again."""
        if self.child is not None:
            self._change(PartState.RESTARTING)
            self.child.kill_group()

    async def _prepare(self) -> None:
        if self.part.prepare is not None:
            self._change(PartState.PREPARING)
            await asyncio.to_thread(self.part.prepare)

    async def _run_once(self) -> None:
        self._change(PartState.STARTING)
        child = self._spawn()
        stopped_by_us = await self._watch(child)
        child.finish()
        self.child = None
        if self._asked_to_stop.is_set() or stopped_by_us:
            self._asked_to_restart = False
            return
        await self._after_death(child.exit_code())

    def _spawn(self) -> Child:
        for port in self.part.ports:
            port.release()
        name, logs = self.part.name, self._around.logs
        try:
            child = Child(self.part, self._around.environment, lambda line: logs.write(name, line))
        except OSError as error:
            raise StackError(f"{name} cannot be started: {error}") from error
        self.child, self.starts = child, self.starts + 1
        self._around.on_change()
        return child

    async def _watch(self, child: Child) -> bool:
        """Until the process has ended; True when we had asked for it."""
        deadline_s, kill_at_s = time.monotonic() + self.part.ready_deadline_s, math.inf
        while child.exit_code() is None:
            asked = self._asked_to_stop.is_set() or self._asked_to_restart
            now_s = time.monotonic()
            if asked:
                kill_at_s = min(kill_at_s, now_s + self.part.stop_deadline_s)
                if now_s > kill_at_s:
                    child.kill_group()
            elif self.state is PartState.STARTING:
                await self._ask_whether_ready(child, deadline_s)
            await asyncio.sleep(TICK_S)
        return self._asked_to_stop.is_set() or self._asked_to_restart

    async def _ask_whether_ready(self, child: Child, deadline_s: float) -> None:
        reason = await self.part.probe(child.pid)
        if self.state is not PartState.STARTING or child.exit_code() is not None:
            return
        if reason is None:
            if self.ready_after_s is None:
                self.ready_after_s = time.monotonic() - self._began_s
            self._change(PartState.READY)
        elif time.monotonic() > deadline_s:
            child.kill_group()
            raise StackError(
                f"{self.part.name} was not ready within {self.part.ready_deadline_s:.0f} s: {reason}."
            )

    async def _after_death(self, code: int | None) -> None:
        how = f"was ended by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
        if code == NOT_RUNNABLE:
            raise StackError(f"{self.part.name} {how}: {' '.join(self._around.logs.tail(self.part.name, 1))}")
        delay_s = self._restarts.record(time.monotonic())
        if delay_s is None:
            tried = f"{self._restarts.limit} restarts within {self._restarts.window_s:.0f} s did not help"
            raise StackError(f"{self.part.name} {how}; {tried}.")
        self._say(f"{how}; starting it again" + (f" in {delay_s:.1f} s" if delay_s else ""))
        self._change(PartState.RESTARTING)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._asked_to_stop.wait(), delay_s)

    async def _watch_external(self) -> None:
        self._change(PartState.STARTING)
        deadline_s = time.monotonic() + EXTERNAL_DEADLINE_S
        while (reason := await self.part.probe(0)) is not None:
            if time.monotonic() > deadline_s:
                raise StackError(f"{reason}.", "Start it, or unset the variable to use the embedded one.")
            await asyncio.sleep(4 * TICK_S)
        self.ready_after_s = time.monotonic() - self._began_s
        self._change(PartState.READY)
        await self._asked_to_stop.wait()

    def _fail(self, problem: str) -> None:
        lines = self._around.logs.tail(self.part.name, SHOWN_LINES) if self.starts else []
        tail = [line if len(line) <= SHOWN_CHARS else line[:SHOWN_CHARS] + " ..." for line in lines]
        self.problem = "\n".join(
            [problem, *([f"The last lines of {self.part.name}:", *tail] if tail else [])]
        )
        self._say(problem)
        self._change(PartState.FAILED)

    def _end(self) -> None:
        if self.child is not None:
            self.child.finish()
            self.child = None
        if self.state is not PartState.FAILED:
            self._change(PartState.STOPPED)

    def _say(self, text: str) -> None:
        self._around.logs.write("supervisor", f"{self.part.name} {text}")

    def _change(self, state: PartState) -> None:
        self.state = state
        self._around.on_change()
