"""Becomes another program that dies with the process that started it, as another user if asked.

    python -I -S leash.py '{"parent": 1, "death_signal": 9, "user": null}' program arguments...

Runs by itself, without this project's packages: it is between the supervisor and every part, and costs 20 ms.
Why a program and not `preexec_fn`: that runs Python between fork and exec, which is unsafe beside threads.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG, CLONE_NEWUSER = 1, 0x10000000
NOT_RUNNABLE, PARENT_GONE = 126, 125


def become(uid: int, gid: int) -> None:
    """Gives up root for good."""
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def appear_as(uid: int, gid: int) -> None:
    """Enters a user namespace where we are called `uid`: no longer root, and still the owner of our files.

    For programs that refuse to run as root while their files lie where only root may go, such as its home.
    """
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "this system allows no user namespace")
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def die_with(parent: int, death_signal: int) -> None:
    """From now on the kernel sends `death_signal` when the parent ends; leaves at once when it has ended."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if parent and os.getppid() != parent:
        sys.exit(PARENT_GONE)


def main() -> None:
    """Reads its instructions from the first argument and becomes the program that the others name."""
    told, command = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        if told.get("uid") is not None:
            (appear_as if told["namespace"] else become)(told["uid"], told["gid"])
        # After the change of user, which clears it.
        die_with(told["parent"], told["death_signal"])
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and what it becomes would inherit that
            with contextlib.suppress(AttributeError):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_RUNNABLE)


if __name__ == "__main__":
    main()
