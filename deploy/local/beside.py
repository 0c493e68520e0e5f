"""`demo` and `stack`: a stack in the foreground and a program beside it, whose exit code is the command's."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing

from rich.console import Console

from deploy.local.assembly import Wanted
from deploy.local.demo_settings import DEMO_SETTINGS
from deploy.local.errors import StackError
from deploy.local.homes import CHECKOUT, Home
from deploy.local.processes import leashed
from deploy.local.progress import Announcer, fetch
from deploy.local.running import INTERRUPTED, Running, Work, run_stack, wait_for_stop
from deploy.local.session import Session, is_running

TICK_S, PROGRAM_STOP_S = 0.05, 15.0


def demo(up_home: Home, home: Home, arguments: list[str], console: Console) -> int:
    """The whole demo: a fresh stack, then `deploy.demo` beside it; also where the stack of `up` is up."""
    command = (sys.executable, "-m", "deploy.demo", *arguments)
    if is_running(up_home):
        # That one has the settings of production, with which the acts would take days.
        console.print("What `make up` started goes on; the demo gets a stack of its own.")
    with closing(Session.open(home)) as session:
        _empty(home)
        fetch(home, os.environ, console)
        console.print(f"Starting the stack; logs are in {home.logs}", highlight=False, soft_wrap=True)
        wanted = Wanted(settings=DEMO_SETTINGS)
        return asyncio.run(run_stack(session, wanted, _program(command), Announcer(console).tell))


def stack(home: Home, command: list[str], wanted: Wanted, console: Console) -> int:
    """The parts without the services, as long as the command runs; without a command, until Ctrl-C."""
    work = _program((_found(command[0]), *command[1:])) if command else _shown(console)
    with closing(Session.open(home)) as session:
        fetch(home, os.environ, console)
        return asyncio.run(run_stack(session, wanted, work, Announcer(console).tell))


def _shown(console: Console) -> Work:
    async def show(running: Running) -> int:
        for name, value in running.addresses.items():
            console.print(f"export {name}='{value}'", markup=False, highlight=False, soft_wrap=True)
        console.print("Ctrl-C stops it.")
        return await wait_for_stop(running)

    return show


def _program(command: tuple[str, ...]) -> Work:
    async def run(running: Running) -> int:
        program = _spawn(command, running.addresses)
        try:
            return await _until_end(program, running)
        finally:
            await _end(program)

    return run


async def _until_end(program: "subprocess.Popen[bytes]", running: Running) -> int:
    while (code := program.poll()) is None:
        running.supervisor.raise_failed()
        if running.stop_asked.is_set():
            return INTERRUPTED
        await asyncio.sleep(TICK_S)
    return code if code >= 0 else 128 - code


async def _end(program: "subprocess.Popen[bytes]") -> None:
    """Asks a program that still runs to stop, and ends it after a while. Ctrl-C has reached it already."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        waited_s = 0.0
        if program.poll() is None:
            program.send_signal(sign)
        while program.poll() is None and waited_s < PROGRAM_STOP_S:
            await asyncio.sleep(TICK_S)
            waited_s += TICK_S


def _spawn(command: tuple[str, ...], addresses: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Starts the program with this terminal as its own, and with the addresses in its environment."""
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        leashed(command, signal.SIGTERM), env={**os.environ, **addresses, "PYTHONPATH": path}
    )


def _found(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise StackError(f"There is no program {program}.")
    return found


def _empty(home: Home) -> None:
    """Removes what earlier demos left; the lock, which we hold, stays."""
    for path in home.root.iterdir():
        if path == home.lock_file:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
