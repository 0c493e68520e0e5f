"""`up`, `down` and `status`: a stack that runs in the background, supervised by a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from rich.console import Console

from deploy.local.assembly import Wanted
from deploy.local.errors import StackError
from deploy.local.homes import CHECKOUT, Home, open_home
from deploy.local.processes import start_mark
from deploy.local.progress import Announcer, fetch
from deploy.local.running import run_in, wait_for_stop
from deploy.local.session import Session, is_running
from deploy.local.state import StackRecord, read_record
from deploy.local.table import as_json, as_table

TICK_S = 0.1
START_DEADLINE_S, STOP_DEADLINE_S = 360.0, 90.0


def clear_dead(homes: tuple[Home, ...], console: Console) -> None:
    """Ends what supervisors that were killed have left behind in these folders."""
    for home in homes:
        if read_record(home.state_file) is None or is_running(home):
            continue
        with closing(Session.open(home)) as session:
            session.enter("clearing")
            if session.cleared:
                console.print(f"Cleared up after a crash: {', '.join(session.cleared)}", highlight=False)


def up(home: Home, flags: list[str], console: Console) -> int:
    """Starts a supervisor in the background; returns 0 when all is ready, after showing what runs where."""
    if is_running(home):
        console.print(f"Already up in {home.root}.", highlight=False)
        return status(home, False, console)
    fetch(home, os.environ, console)
    console.print(f"Starting; logs are in {home.logs}", highlight=False, soft_wrap=True)
    record = _await_ready(home, _detach(home, flags), console)
    console.print(as_table(record))
    return 0


def supervise(home: Home, wanted: Wanted) -> int:
    """What `up` starts in the background. Ends when it gets SIGTERM or when the start fails."""
    return run_in(home, wanted, wait_for_stop, lambda parts: None)


def down(home: Home, console: Console) -> int:
    """Stops what `up` started, in order, and waits for the end."""
    record = read_record(home.state_file)
    if not is_running(home):
        clear_dead((home,), console)
        console.print("Nothing is up.")
        return 0
    if record is None or start_mark(record.supervisor_pid) != record.supervisor_mark:
        raise StackError(
            f"{home.lock_file} is locked by a process that left no record.", "Try again in a moment."
        )
    os.kill(record.supervisor_pid, signal.SIGTERM)
    if not _until_stopped(home, STOP_DEADLINE_S):
        os.kill(record.supervisor_pid, signal.SIGKILL)
        _until_stopped(home, 5.0)
        clear_dead((home,), console)
    console.print("Stopped.")
    return 0


def status(home: Home, machine_readable: bool, console: Console) -> int:
    """Shows what runs; 0 when all of it is ready, 1 when not, 3 when nothing is up."""
    record = read_record(home.state_file) if is_running(home) else None
    if machine_readable:
        print(
            json.dumps(
                as_json(record) if record else {"phase": "down", "parts": [], "addresses": {}}, indent=1
            )
        )
    elif record is None:
        console.print("Nothing is up. Start it: make up")
    else:
        console.print(as_table(record))
        for part in record.parts:
            if part.problem:
                console.print(part.problem, markup=False, highlight=False)
    if record is None:
        return 3
    return 0 if all(part.state in ("ready", "external") for part in record.parts) else 1


def _detach(home: Home, flags: list[str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "deploy.local", "supervise", *flags]
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with _supervisor_output(home).open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )


def _supervisor_output(home: Home) -> Path:
    return home.folder("logs") / "supervisor.out"


def _await_ready(home: Home, supervisor: "subprocess.Popen[bytes]", console: Console) -> StackRecord:
    """The record once all is ready. On Ctrl-C, and when the start fails, nothing stays behind."""
    announcer, deadline_s = Announcer(console), time.monotonic() + START_DEADLINE_S
    try:
        while supervisor.poll() is None and time.monotonic() < deadline_s:
            record = read_record(home.state_file)
            if record is not None and record.supervisor_pid == supervisor.pid:
                announcer.tell(record.parts)
                if record.phase == "ready":
                    return record
            time.sleep(TICK_S)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait(STOP_DEADLINE_S)
        raise
    supervisor.terminate()
    supervisor.wait(STOP_DEADLINE_S)
    record = read_record(home.state_file)
    if record is not None and record.supervisor_pid == supervisor.pid and record.problem:
        raise StackError(record.problem, f"All logs are in {home.logs}")
    said = _supervisor_output(home).read_text(errors="replace").strip()
    raise StackError(said[-4000:] or f"The stack was not ready within {START_DEADLINE_S:.0f} s.")


def _until_stopped(home: Home, seconds: float) -> bool:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        if not is_running(home):
            return True
        time.sleep(TICK_S)
    return False


def homes(root: Path) -> tuple[Home, Home]:
    """The folders of `up` and of `demo`: the one keeps its data, the other begins afresh each time."""
    return open_home(root / "up"), open_home(root / "demo")
