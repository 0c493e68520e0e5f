"""The right to run a stack in a folder: one supervisor at a time, and the traces of a dead one removed."""

import contextlib
import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

from deploy.local.cleanup import clear_up
from deploy.local.errors import StackError
from deploy.local.homes import Home
from deploy.local.processes import start_mark
from deploy.local.state import PartRecord, StackRecord, read_record, write_record
from deploy.local.supervisor import Supervisor


@dataclass
class Session:
    """Holds the lock of a home. The kernel releases it when this process ends, however it ends."""

    home: Home
    cleared: list[str]
    _lock: IO[str]
    phase: str = "starting"
    problem: str = ""
    _parts: tuple[PartRecord, ...] = ()
    _addresses: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, home: Home) -> "Session":
        """Takes the lock and clears up after a crash; StackError when a supervisor runs here already."""
        lock = home.lock_file.open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            record = read_record(home.state_file)
            who = f" (process {record.supervisor_pid})" if record else ""
            raise StackError(
                f"A stack already runs in {home.root}{who}.",
                "Stop it first (make down), or use another folder: TRIMTAB_HOME=/path/to/a/folder",
            ) from error
        record = read_record(home.state_file)
        return cls(home, clear_up(record) if record else [], lock)

    def enter(self, phase: str, problem: str = "") -> None:
        """Notes how the stack as a whole stands: starting, ready, failed, stopping."""
        self.phase, self.problem = phase, problem
        self._write()

    def record(self, supervisor: Supervisor, addresses: Mapping[str, str]) -> tuple[PartRecord, ...]:
        """Writes down what runs now, and returns it."""
        self._addresses = dict(addresses)
        self._parts = tuple(
            PartRecord(
                name=keeper.part.name,
                address=keeper.part.address,
                state="external" if keeper.part.external and keeper.state == "ready" else str(keeper.state),
                pid=keeper.child.pid if keeper.child else 0,
                start_mark=(keeper.child.start_mark or "") if keeper.child else "",
                stop_signal=int(keeper.part.stop_signal),
                starts=keeper.starts,
                ready_after_s=keeper.ready_after_s,
                problem=keeper.problem,
            )
            for keeper in supervisor.keepers.values()
        )
        self._write()
        return self._parts

    def _write(self) -> None:
        me = os.getpid()
        record = StackRecord(self.phase, me, start_mark(me) or "", self._parts, self._addresses, self.problem)
        # A full disk must not stop what runs; the kernel still ends the parts if this process is killed.
        with contextlib.suppress(OSError):
            write_record(self.home.state_file, record)

    def close(self) -> None:
        """Lets the next supervisor in, and forgets what ran unless it failed. For when all has stopped."""
        if self.phase != "failed":
            self.home.state_file.unlink(missing_ok=True)
        self._lock.close()


def is_running(home: Home) -> bool:
    """Whether a supervisor holds the lock of this home."""
    if not home.lock_file.exists():
        return False
    with home.lock_file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
