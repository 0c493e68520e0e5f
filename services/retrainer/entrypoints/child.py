"""A child of the worker: one piece of work in a process of its own, ordered and answered by files.

It lives on a leash: its standard input is a pipe from the worker, and when the worker dies, whatever way, the
pipe ends and so does the child. What it cannot do is said in `failure.json`; anything else is a crash.
"""

import argparse
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from libs.common.errors import Misconfigured, Refused, Retryable
from services.retrainer.domain.report import FAILURE, Failure

EXIT_DONE, EXIT_GAVE_UP, EXIT_ORPHANED = 0, 3, 4


def run_child(name: str, work: Callable[[Path], None]) -> int:
    """Parse the command line (`FOLDER [--niceness N]`), do the work in that folder, return the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--niceness", type=int, default=0)
    arguments = parser.parse_args()
    os.nice(arguments.niceness)
    threading.Thread(target=_die_with_the_worker, name="leash", daemon=True).start()
    try:
        work(arguments.folder)
    except (Retryable, Refused, Misconfigured) as error:
        failure = Failure(reason=error.message, retryable=isinstance(error, Retryable))
        write_whole(arguments.folder / FAILURE, failure.model_dump_json().encode())
        return EXIT_GAVE_UP
    return EXIT_DONE


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)


def _die_with_the_worker() -> None:
    # Not through sys.stdin: its lock, held by a thread that reads, makes the interpreter's end a crash.
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    os._exit(EXIT_ORPHANED)
