"""One child process: spawned on a leash in a session of its own, its output read as it comes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from deploy.local.logs import LineSplitter
from deploy.local.parts import Account, Part

LEASH = Path(__file__).with_name("leash.py")
CHUNK_BYTES = 65_536
REAP_TIMEOUT_S = 2.0


def leashed(command: tuple[str, ...], death_signal: int, account: Account | None = None) -> list[str]:
    """The command line that runs `command` so that it dies with this process, as `account` when given."""
    told: dict[str, object] = {"parent": os.getpid(), "death_signal": death_signal}
    if account is not None:
        told |= {"uid": account.uid, "gid": account.gid, "namespace": account.namespace}
    return [sys.executable, "-I", "-S", str(LEASH), json.dumps(told), *command]


def start_mark(pid: int) -> str | None:
    """What tells this process from a later one with the same number; None when there is no such process.

    On Linux the boot and the clock ticks since it, which no change of the wall clock moves.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state, ticks = text.rpartition(")")[2].split()[0], text.rpartition(")")[2].split()[19]
        return None if state in "ZX" else f"{boot}:{ticks}"
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def group_members(leader: int) -> list[int]:
    """The processes of the group that `leader` founded; the leader itself may be gone."""
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == leader:
                members.append(pid)
    return members


class Child:
    """A running process and the pipe with its output. Belongs to the event loop that spawned it."""

    def __init__(self, part: Part, environment: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._splitter, self._on_line = LineSplitter(), on_line
        try:
            self._process = subprocess.Popen(
                leashed(part.command, part.death_signal, part.account),
                env=dict(environment) | dict(part.environment),
                cwd=part.folder,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        finally:
            os.close(writing)
        self.pid = self._process.pid
        self.start_mark = start_mark(self.pid)
        asyncio.get_running_loop().add_reader(self._reading, self._read)

    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def send(self, sig: signal.Signals) -> None:
        """Signals the process itself; nothing happens when it has ended."""
        self._process.send_signal(sig)

    def kill_group(self) -> None:
        """Ends the process and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Ends whatever is left of it, takes what it still said, and closes the pipe."""
        self.kill_group()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(REAP_TIMEOUT_S)  # it was killed: this is a matter of milliseconds
        while self._read():
            pass
        for line in self._splitter.flush():
            self._on_line(line)
        self._end_of_output()

    def _read(self) -> bool:
        """Reads a chunk; False when there is none now."""
        if self._reading < 0:
            return False
        try:
            chunk = os.read(self._reading, CHUNK_BYTES)
        except BlockingIOError:
            return False
        for line in self._splitter.feed(chunk):
            self._on_line(line)
        if not chunk:
            self._end_of_output()
        return bool(chunk)

    def _end_of_output(self) -> None:
        if self._reading >= 0:
            asyncio.get_running_loop().remove_reader(self._reading)
            os.close(self._reading)
            self._reading = -1
