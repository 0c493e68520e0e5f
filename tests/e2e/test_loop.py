"""The whole system as processes: the demo's three acts, while every service is killed once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 600
KILLED = (
    "gateway",
    "metrics-ingest",
    "assignment",
    "metrics-judge",
    "drift-ingest",
    "drift-judge",
    "retrainer",
)


class Demo:
    """`make demo ARGS=--once` as a process whose output is read as it comes."""

    def __init__(self, home: Path) -> None:
        self.lines: list[str] = []
        self._environment = {**os.environ, "TRIMTAB_HOME": str(home)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "demo", "--once"],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return "\n".join(self.lines)

    def end(self) -> int:
        """Wait for the end, or interrupt what is still running; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def wait_for(self, text: str) -> None:
        """Wait until the output has this text; fail when the demo ends or the deadline passes first."""
        until = time.monotonic() + DEADLINE_S
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < until, f"no {text!r} in:\n{self.output}"
            time.sleep(0.1)

    def part(self, name: str) -> dict[str, object]:
        """Return what `status` says of a part."""
        told = subprocess.run(
            [sys.executable, "-m", "deploy.local", "status", "--json"],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        (found,) = (part for part in json.loads(told.stdout)["parts"] if part["name"] == name)
        return dict(found)

    def kill(self, name: str) -> None:
        """Kill -9 a part, then wait until it is ready again."""
        before = self.part(name)
        os.kill(int(str(before["pid"])), signal.SIGKILL)
        until = time.monotonic() + 90
        while True:
            now = self.part(name)
            if now["state"] == "ready" and now["pid"] != before["pid"]:
                return
            assert self.process.poll() is None, self.output
            assert time.monotonic() < until, f"{name} did not come back: {now}"
            time.sleep(0.2)


@pytest.mark.e2e
@pytest.mark.timeout(DEADLINE_S + 60)
def test_the_loop_closes_though_every_service_is_killed(tmp_path: Path) -> None:
    """With each service killed -9 in turn while the acts play, all three acts succeed, and the closing
    table's counts equal the traffic program's own ledger (else the demo exits with 1)."""
    demo = Demo(tmp_path / "home")
    try:
        demo.wait_for("traffic runs")
        for name in KILLED:
            demo.kill(name)
        demo.process.wait(DEADLINE_S)
    finally:
        code = demo.end()
    assert code == 0, demo.output
    for said in ("rolled back", "model degraded", "trained and registered", "promoted"):
        assert said in demo.output
    assert "DIFFERENT" not in demo.output
    assert demo.output.count("equal") >= 12, demo.output
