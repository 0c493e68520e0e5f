"""What becomes of clients when their process ends, or forks.

At the end (also by an exception, `sys.exit` or Ctrl-C) each sends what waits, within a deadline. After a
fork the child starts afresh: threads do not survive a fork, and locks may have been held by one.
"""

import atexit
import os
from multiprocessing import parent_process, util
from typing import Protocol

from trimtab.clock import monotonic_ms


class Running(Protocol):
    """Something with threads, from its start to its close."""

    exit_deadline_ms: float

    def close(self, deadline_ms: float) -> bool:
        """Send what waits and stop, within the deadline."""
        ...

    def reborn(self) -> None:
        """Be as new, in a child process: nothing of the parent's waits here."""
        ...


_running: set[Running] = set()
_at_end: tuple[int, util.Finalize | None] = (0, None)


def enlist(one: Running) -> None:
    """Close it when the process ends, renew it when the process forks."""
    _running.add(one)
    if parent_process() is not None:
        _in_worker(one)


def leave(one: Running) -> None:
    """Forget it: it has been closed."""
    _running.discard(one)


def close_all() -> None:
    """Close all that run: together they take no longer than the longest of their deadlines."""
    waiting = list(_running)
    ends_ms = monotonic_ms() + max((each.exit_deadline_ms for each in waiting), default=0.0)
    for each in waiting:
        each.close(max(1.0, min(each.exit_deadline_ms, ends_ms - monotonic_ms())))


def _in_worker(_: object) -> None:
    # multiprocessing ends most of its workers by os._exit, which does not ask atexit; it has its own way.
    global _at_end  # one for the process, however many clients it makes
    pid, end = _at_end
    if end is None or pid != os.getpid() or not end.still_active():
        _at_end = os.getpid(), util.Finalize(None, close_all, exitpriority=10)


def _in_child() -> None:
    for each in list(_running):
        each.reborn()


atexit.register(close_all)
util.register_after_fork(close_all, _in_worker)  # a fork empties what was registered before
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
