"""Free TCP ports on loopback: friendly defaults first, nobody else's, and nobody steps in between.

A port is held by a listening socket until the moment its owner is spawned. From then until the owner binds
it (seconds, for a JVM) a name in Linux's abstract socket space keeps other stacks off, those of other users
as well; the kernel frees it when the supervisor dies. Ports stay below the range from which the kernel takes
the ports of outgoing connections, so that a part that is started again finds its own port free.
"""

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deploy.local.errors import StackError

LOOPBACK = "127.0.0.1"
LOWEST, EPHEMERAL_FLOOR = 1024, 32768
TRIES = 400

Hold = list[socket.socket]


@dataclass
class Port:
    """A port chosen for one part: `release` just before its owner starts, `forget` when all has stopped."""

    number: int
    _listening: Hold = field(default_factory=list)
    _reserved: Hold = field(default_factory=list)

    def release(self) -> None:
        """Lets the owner bind the port. May be called again."""
        _close(self._listening)

    def forget(self) -> None:
        """Gives the port up altogether."""
        _close(self._listening)
        _close(self._reserved)


def candidates(preferred: int, tries: int = TRIES) -> Iterator[int]:
    """The preferred port, then the next ones, never a privileged or an ephemeral one."""
    span = EPHEMERAL_FLOOR - LOWEST
    yield preferred
    for step in range(1, tries):
        yield LOWEST + (preferred - LOWEST + step) % span


def choose_port(preferred: int, hold: Callable[[int], Port | None] | None = None) -> Port:
    """Holds the first free port from `preferred` upwards; StackError when none of the candidates is free."""
    take = hold or hold_port
    for number in candidates(preferred):
        port = take(number)
        if port is not None:
            return port
    raise StackError(
        f"No free TCP port on {LOOPBACK} from {preferred} upwards.",
        "See what listens there: ss -ltn",
    )


def hold_port(number: int) -> Port | None:
    """Holds this very port, or None when someone has it or another stack has reserved it."""
    with contextlib.ExitStack() as undo:
        reserved, listening = _reserve(number), socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        undo.callback(listening.close)
        if reserved is None:
            return None
        undo.callback(_close, reserved)
        # With SO_REUSEADDR as the servers do it: a socket in TIME_WAIT is no obstacle, a listening one is.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOOPBACK, number))
            listening.listen(1)
        except OSError:
            return None
        undo.pop_all()
        return Port(number, [listening], reserved)


def _reserve(number: int) -> Hold | None:
    if not sys.platform.startswith("linux"):
        return []
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(f"\0trimtab-port-{number}")
    except OSError:
        name.close()
        return None
    return [name]


def _close(hold: Hold) -> None:
    while hold:
        hold.pop().close()
