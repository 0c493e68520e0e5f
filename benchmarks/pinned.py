"""Runs one program on one core, and everything else on the others."""

import os
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from benchmarks.outcome import Outcome

ROOT: Final = Path(__file__).resolve().parents[1]
SAMPLE_S: Final = 0.05
STOP_S: Final = 20.0
TIMEOUT_S: Final = 300.0
MARK: Final = '{"events"'
_PIN: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends when the harness does
os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def split_cores() -> tuple[int, frozenset[int]]:
    """Return the core for the program, and those for the broker and the harness (the same one when there is
    no other)."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-1], frozenset(cores[:-1] or cores)


class Pinned:
    """A program while it runs. Its peak of resident memory is sampled, children not included."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], cores: Collection[int], log: IO[bytes]
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _PIN, ",".join(map(str, cores)), *command],
            env={**os.environ, **environment},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self.peak_mb = 0.0
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def read_line(self, timeout_s: float) -> str:
        """Return the first line that looks like JSON; empty when it ended, or was ended after `timeout_s`,
        without one."""
        killer = threading.Timer(timeout_s, self._process.kill)
        killer.start()
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                if MARK in line:  # a terminal's control codes may stand before it
                    return line[line.index(MARK) :]
        finally:
            killer.cancel()
        return ""

    def kill(self) -> None:
        """End it as a crash does, and return when it is gone."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it, politely first."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._over.set()
        self._sampler.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _sample(self) -> None:
        status = Path(f"/proc/{self._process.pid}/status")
        while not self._over.wait(SAMPLE_S):
            try:
                lines = status.read_text().splitlines()
            except OSError:
                return
            # The kernel keeps the peak itself: a sample misses none but the last moments.
            peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
            self.peak_mb = max([self.peak_mb, *(each / 1_024 for each in peaks)])


@contextmanager
def pinned(
    command: Sequence[str], environment: Mapping[str, str], *, core: int, log: Path
) -> Iterator[Pinned]:
    """Run a program on `core` as long as the block lasts; its stderr goes to `log`."""
    with on_cores(command, environment, cores={core}, log=log) as process:
        yield process


@contextmanager
def on_cores(
    command: Sequence[str], environment: Mapping[str, str], *, cores: Collection[int], log: Path
) -> Iterator[Pinned]:
    """Run a program on some cores as long as the block lasts; its stderr is added to `log`."""
    with log.open("ab") as errors:
        process = Pinned(command, environment, cores, errors)
        try:
            yield process
        finally:
            process.stop()


def run_peer(command: Sequence[str], environment: Mapping[str, str], *, core: int, log: Path) -> Outcome:
    """Run a peer until it has told its figures."""
    with pinned(command, environment, core=core, log=log) as process:
        line = process.read_line(TIMEOUT_S)
    if not line:
        return Outcome(why=f"told nothing: {last_line(log)}")
    return Outcome.parse(line, process.peak_mb)


def last_line(log: Path) -> str:
    """Return the last line of a log, shortened."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:120] if lines else "its log is empty"
