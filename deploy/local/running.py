"""Runs a whole stack in this process: starts it, does some work beside it, stops it, whatever happens."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import closing

from deploy.local.assembly import Wanted, assemble
from deploy.local.errors import StackError
from deploy.local.homes import Home
from deploy.local.logs import StackLogs
from deploy.local.session import Session
from deploy.local.state import PartRecord
from deploy.local.supervisor import Supervisor

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Announce = Callable[[tuple[PartRecord, ...]], None]


class Running:
    """A stack that has started. `stop_asked` is set by Ctrl-C and by SIGTERM."""

    def __init__(self, supervisor: Supervisor, addresses: dict[str, str], session: Session) -> None:
        self.supervisor = supervisor
        self.addresses = addresses
        self.session = session
        self.stop_asked = asyncio.Event()


Work = Callable[[Running], Awaitable[int]]


async def run_stack(session: Session, wanted: Wanted, work: Work, announce: Announce) -> int:
    """The exit code of `work`, which begins when all is ready; StackError when that does not come about.

    Everything has stopped when this returns or raises.
    """
    environment = dict(os.environ)
    assembly = assemble(session.home, environment, wanted)
    logs = StackLogs(session.home.logs)
    supervisor = Supervisor(
        assembly.parts, environment, logs, lambda: announce(session.record(supervisor, addresses))
    )
    addresses = dict(assembly.addresses)
    running = Running(supervisor, addresses, session)
    loop = asyncio.get_running_loop()
    for one in SIGNALS:
        loop.add_signal_handler(one, running.stop_asked.set)
    try:
        supervisor.start()
        if not await _until(supervisor.wait_ready(), running.stop_asked):
            return INTERRUPTED
        session.enter("ready")
        return await work(running)
    except StackError as error:
        session.enter("failed", str(error))
        raise
    finally:
        if session.phase != "failed":
            session.enter("stopping")
        await supervisor.stop()
        assembly.forget_ports()


async def wait_for_stop(running: Running) -> int:
    """The work of a stack that is just there, until it is asked to stop. `status` shows a part that fails."""
    await running.stop_asked.wait()
    return 0


def run_in(home: Home, wanted: Wanted, work: Work, announce: Announce) -> int:
    """`run_stack` in this folder, whose lock it takes."""
    with closing(Session.open(home)) as session:
        return asyncio.run(run_stack(session, wanted, work, announce))


async def _until(work: Awaitable[None], stop: asyncio.Event) -> bool:
    """True when the work is done, False when the stop came first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        return False
    await working
    return True
