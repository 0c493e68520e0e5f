"""The table that a run ends with."""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.outcome import Outcome, differences
from benchmarks.pinned import ROOT
from benchmarks.programs import Program
from benchmarks.world import Truth

_HEAD = f"{'':2} {'program':<40} {'events':>9} {'k/s':>8} {'steady':>8} {'/ (a)':>6} {'exact':>6} {'MB':>6}"


def heading(core: int, others: frozenset[int]) -> str:
    """Return what was measured, where."""
    git = shutil.which("git")
    commit = "unknown"
    if git is not None:
        asked = [git, "-C", str(ROOT), "describe", "--always", "--dirty"]
        commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or commit  # noqa: S603
    cores = ", ".join(map(str, sorted(others)))
    load = os.getloadavg()[0]
    return (
        f"commit {commit}; Python {platform.python_version()}; {os.cpu_count()} cores: each program on core "
        f"{core}, broker, database and harness on {cores}; load when it began {load:.1f}"
    )


def table(runs: Mapping[Program, Sequence[Outcome]], truths: Mapping[bool, Truth]) -> str:
    """Return the rows: medians over the runs of each program; `truths` by whether it reads the small job."""
    limit = next((_median(each, "rate") for program, each in runs.items() if program.letter == "a"), 0.0)
    lines = [_HEAD, "-" * len(_HEAD)]
    for program, outcomes in runs.items():
        lines.append(_row(program, outcomes, truths[program.small], limit))
    lines.append("k/s: thousand events a second, first record to last; steady: second half of the records")
    for program, outcomes in runs.items():
        for each in outcomes:
            wrong = differences(truths[program.small], each.result) if each.result is not None else []
            lines += [f"({program.letter}) {line}" for line in wrong]
    return "\n".join(lines)


def _row(program: Program, outcomes: Sequence[Outcome], truth: Truth, limit: float) -> str:
    good = [each for each in outcomes if not each.why]
    if not good:
        return f"{program.letter:2} {program.title:<40} {outcomes[-1].why}"
    rate = _median(good, "rate")
    ratio = f"{rate / limit:.2f}" if limit else "-"
    row = (
        f"{program.letter:2} {program.title:<40} {good[0].events:>9,} {rate:>8.1f} "
        f"{_median(good, 'steady_rate'):>8.1f} {ratio:>6} "
        f"{_exact(good, truth):>6} {_median(good, 'peak_mb'):>6.0f}"
    )
    failed = len(outcomes) - len(good)
    return row + (f"  {good[-1].note}" if good[-1].note else "") + (f"  {failed} failed" if failed else "")


def _exact(outcomes: Sequence[Outcome], truth: Truth) -> str:
    results = [each.result for each in outcomes if each.result is not None]
    if not results:
        return "counts"
    return "yes" if all(each == truth for each in results) else "NO"


def _median(outcomes: Sequence[Outcome], name: str) -> float:
    return median([float(getattr(each, name)) for each in outcomes if not each.why] or [0.0])
