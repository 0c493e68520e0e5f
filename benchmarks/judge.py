"""`python -m benchmarks.judge`: how long the judge takes, beside gbstats and statsmodels on the same sums.

All on one core, medians of rounds. The judge's rows hold everything from sums to the result and the memory as
JSON, without the database. gbstats runs in an environment of its own (`requirements/oracles.txt`).
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.judged import T0, VARIANTS, Size, experiments, first_totals, moved
from benchmarks.pinned import ROOT, split_cores
from benchmarks.programs import PEERS, Unavailable, peer_python
from benchmarks.run import say
from libs.statistics.sums import MICRO
from schemas.experiments import Experiment, Policy
from schemas.policies import Correction, Method
from services.metrics.domain.cases import Case
from services.metrics.domain.evidence import compare_all
from services.metrics.domain.known import Known
from services.metrics.domain.memory import JudgeMemory, memory_to_json
from services.metrics.domain.totals import ExperimentTotals
from services.metrics.handlers.judge import judge

ORACLES = ROOT / "requirements" / "oracles.txt"
WANTED_S = 1.0
TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: seconds, or why there are none, for so many comparisons."""

    title: str
    seconds: float | None
    comparisons: int
    note: str = ""


class Live:
    """Experiments that are judged again and again, their answers and memory kept from look to look."""

    def __init__(self, size: Size, policy: Policy) -> None:
        self.size = size
        self.subjects = experiments(size, policy)
        self._chance = random.Random(7)
        self.totals = [first_totals(self._chance, each) for each in self.subjects]
        self._known = [Known() for _ in self.subjects]
        self._memories = [JudgeMemory() for _ in self.subjects]
        self.look()

    def move(self, metrics: int) -> None:
        """Let more units do something in so many metrics of every experiment."""
        names = [each.name for each in self.subjects[0].metrics[:metrics]]
        self.totals = [moved(self._chance, each, names) for each in self.totals]

    def look(self, count: int | None = None) -> float:
        """Judge the first `count` experiments; return the seconds."""
        began = time.perf_counter()
        for place in range(len(self.subjects) if count is None else count):
            case = Case(self.subjects[place], self.totals[place], self._memories[place])
            found = judge(case, T0 + 60_000, known=self._known[place])
            assert found.result is not None, "nothing refuses it here"
            found.result.to_json()
            memory_to_json(found.memory)
            self._memories[place] = found.memory
        return time.perf_counter() - began

    def compare(self) -> float:
        """Work out the comparisons alone; return the seconds."""
        began = time.perf_counter()
        for subject, found in zip(self.subjects, self.totals, strict=True):
            compare_all(subject, found)
        return time.perf_counter() - began


def own_rows(size: Size, rounds: int) -> list[Row]:
    """Return the judge's own rows."""
    live, tenth = Live(size, Policy()), max(1, size.metrics // 10)
    all_changed, some_metrics, some_experiments, compared = [], [], [], []
    for _ in range(rounds):
        live.move(size.metrics)
        compared.append(live.compare())
        all_changed.append(live.look())
        live.move(tenth)
        some_metrics.append(live.look())
        live.move(size.metrics)
        some_experiments.append(live.look(size.experiments // 10))
        live.look()
    every = size.comparisons
    return [
        Row("judge, all changed", median(all_changed), every, f"wanted: {WANTED_S:g} s"),
        Row("judge, one metric in ten changed in each", median(some_metrics), every, "the rest is known"),
        Row(
            "judge, one experiment in ten changed",
            median(some_experiments),
            every // 10,
            "only these are due",
        ),
        Row("comparisons alone, with lift and margin", median(compared), every),
        *(_method_row(size, method) for method in Method if method is not Method.ALWAYS_VALID),
    ]


def _method_row(size: Size, method: Method) -> Row:
    few = Size(max(1, size.experiments // 10), size.metrics)
    live = Live(few, Policy(method=method, planned_units=20_000, correction=Correction.HOLM))
    live.move(few.metrics)
    return Row(f"judge, {method}, Holm, all changed", live.look(), few.comparisons, "a tenth of it")


def peer_rows(live: Live, rounds: int) -> list[Row]:
    """Return the rows of the peers, or why they have none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sums.json"
        path.write_text(json.dumps(_questions(live.subjects, live.totals)))
        return [
            *_peer("gbstats, sequential", "judge_gbstats.py", path, rounds),
            *_peer("statsmodels, fixed horizon", "judge_statsmodels.py", path, rounds),
        ]


def _questions(subjects: list[Experiment], totals: list[ExperimentTotals]) -> list[dict[str, object]]:
    """Return every comparison as plain numbers: units, Σy, Σy², Σx, Σx², Σxy, treatment before control."""
    found: list[dict[str, object]] = []
    for subject, each in zip(subjects, totals, strict=True):
        for metric in subject.metrics:
            kind = "cuped" if metric.covariate_window_ms else str(metric.kind)
            rows = {key: _row(each, key, metric.name) for key in VARIANTS}
            found += [
                {"kind": kind, "treatment": rows[key], "control": rows[VARIANTS[0]]} for key in VARIANTS[1:]
            ]
    return found


def _row(totals: ExperimentTotals, variant: str, metric: str) -> list[float]:
    sums, squared = totals.metric(variant, metric), MICRO * MICRO
    linear = [sums.total / MICRO, sums.total_squares / squared, sums.covariate_total / MICRO]
    return [sums.units, *linear, sums.covariate_squares / squared, sums.cross / squared]


def _peer(title: str, script: str, sums: Path, rounds: int) -> list[Row]:
    try:
        python = peer_python(ORACLES, "oracles") if "gbstats" in script else sys.executable
        command = [python, str(PEERS / script), str(sums), str(rounds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)  # noqa: S603
    except (Unavailable, subprocess.TimeoutExpired) as error:
        return [Row(title, None, 0, str(error)[:120])]
    if done.returncode != 0:
        return [Row(title, None, 0, (done.stderr.strip().splitlines() or ["it failed"])[-1][:120])]
    return [
        Row(f"{title}: {name}", each["seconds"], each["comparisons"], each["note"])
        for name, each in json.loads(done.stdout).items()
    ]


def table(rows: list[Row]) -> str:
    """Return the rows in Markdown, each with its time per comparison beside that of the first row."""
    unit = (rows[0].seconds or 0.0) / rows[0].comparisons
    lines = ["| | seconds | comparisons | µs each | ratio | |", "|---|---:|---:|---:|---:|---|"]
    for row in rows:
        if row.seconds is None:
            lines.append(f"| {row.title} | | | | | {row.note} |")
            continue
        each = row.seconds / row.comparisons
        lines.append(
            f"| {row.title} | {row.seconds:.3f} | {row.comparisons} | {each * 1e6:.1f} | {each / unit:.2f} "
            f"| {row.note} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the median counts")
    options = parser.parse_args()
    core, _ = split_cores()
    os.sched_setaffinity(0, {core})
    size = Size(options.experiments, options.metrics)
    say(f"Python {platform.python_version()}; one core ({core}); load when it began {os.getloadavg()[0]:.1f}")
    say(f"{size.experiments} experiments x {size.metrics} metrics x {len(VARIANTS)} variants")
    rows = own_rows(size, options.repeat)
    rows += peer_rows(Live(size, Policy()), options.repeat)
    say("\n" + table(rows))


if __name__ == "__main__":
    main()
