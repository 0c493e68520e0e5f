"""Clears up after a supervisor that was killed: ends what it left behind, and nothing else."""

import contextlib
import os
import signal
import time

from deploy.local.processes import group_members, start_mark
from deploy.local.state import PartRecord, StackRecord

ORDERLY_S, TICK_S = 8.0, 0.05


def leftovers(part: PartRecord) -> list[int]:
    """The processes of a part that still run. A process that merely has a recycled number is none of them."""
    if not part.pid:
        return []
    now = start_mark(part.pid)
    if now is not None and now != part.start_mark:
        return []
    # The leader may be gone and its children not: while they live, nobody else gets the group's number.
    return [pid for pid in group_members(part.pid) if start_mark(pid) is not None]


def clear_up(record: StackRecord) -> list[str]:
    """Ends everything the record names that still runs; returns the names of those parts."""
    found = {part.name: part for part in record.parts if leftovers(part)}
    for part in found.values():
        if start_mark(part.pid) == part.start_mark:
            _send(part.pid, part.stop_signal)
    deadline_s = time.monotonic() + ORDERLY_S
    while time.monotonic() < deadline_s and any(leftovers(part) for part in found.values()):
        time.sleep(TICK_S)
    for part in found.values():
        for pid in leftovers(part):
            _send(pid, signal.SIGKILL)
    return list(found)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
