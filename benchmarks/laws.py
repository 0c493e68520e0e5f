"""`python -m benchmarks.laws`: what must hold for every input, and on how many inputs it has just been tried.

Runs the property tests named here and prints a Markdown table with the numbers of this run. Exit status 1
when a law fails, or a test that is listed is missing, was skipped, or tried nothing.
"""

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from libs.common.clock import SystemClock

ROOT = Path(__file__).resolve().parents[1]

_METRICS = "tests/unit/metrics/"
_PARTITIONS = "tests/unit/partitions/"
_JOIN = _METRICS + "test_join_laws.py::test_"
_EXACT = _METRICS + "test_exactness.py::test_"
_ROOM = _METRICS + "test_room.py::test_"

LAWS: Mapping[str, Sequence[str]] = {
    "Any interleaving, repetition and reordering of the same events gives the same state": (
        _JOIN + "any_order_and_repetition_equals_the_reference",
        _EXACT + "every_number_equals_the_recount",
    ),
    "So it does when events come late, within the lateness, and what is useless is forgotten meanwhile": (
        _ROOM + "sweeping_changes_no_row",
    ),
    "How far one topic is read ahead of the other, and in what slices, changes no number": (
        _METRICS + "test_reading_skew.py::test_how_far_a_topic_is_read_ahead_changes_no_number",
        _METRICS + "test_reading_skew.py::test_marks_in_a_log_that_grows_change_no_number",
    ),
    "When a definition comes does not matter": (
        _JOIN + "when_a_definition_comes_does_not_matter",
        _EXACT + "a_definition_that_comes_late_changes_no_number",
    ),
    "What a limit leaves out does not depend on the order of arrival": (
        _JOIN + "the_limit_of_conversions_keeps_the_earliest_in_any_order",
        _ROOM + "the_count_of_exposures_beyond_the_limit_does_not_depend_on_order",
    ),
    "Published rows are absolute": (_JOIN + "rows_are_absolute_and_only_of_what_changed",),
    "Merging is associative and commutative": (
        "tests/unit/statistics/test_sums.py::test_merging_is_associative_and_commutative",
        _METRICS + "test_merge_laws.py::test_sums_merge_in_any_order_and_grouping",
        _METRICS + "test_merge_laws.py::test_partitions_merge_in_any_order_and_grouping",
    ),
    "The number of partitions does not change a digit": (_EXACT + "partitions_add_up",),
    "A snapshot and a replay are no crash, at any record": (
        _JOIN + "dump_and_load_is_no_crash",
        _EXACT + "a_snapshot_is_of_the_moment_when_it_was_begun",
        _PARTITIONS + "test_line_crashes.py::test_killed_anywhere",
    ),
    "A snapshot comes back whole or not at all": (
        _PARTITIONS + "test_snapshots.py::test_round_trip",
        _PARTITIONS + "test_snapshots.py::test_any_flipped_bit_is_found",
    ),
    "Results never move backwards": (
        _PARTITIONS + "test_never_backwards.py::test_results_never_move_backwards",
    ),
    "Two owners never both write": (
        _PARTITIONS + "test_owners.py::TestTwoOwnersNeverBothWrite::runTest",
        _PARTITIONS + "test_line_crashes.py::test_many_owners",
    ),
    "The fast decoder takes and refuses what the schema does": (
        "tests/unit/schemas/test_hot.py::test_the_two_decoders_agree",
        "tests/unit/schemas/test_hot.py::test_a_batch_is_its_records_one_by_one",
        "tests/unit/schemas/test_hot.py::test_a_long_batch_is_its_records_one_by_one",
    ),
    "The audit's recount is the reference's": (
        _METRICS + "audit/test_recompute.py::test_agrees_with_the_reference",
    ),
}

_FIGURES = re.compile(r"- (\d+) passing, (\d+) failing, and \d+ invalid test cases")


@dataclass(slots=True)
class Trial:
    """What became of one test."""

    examples: int = 0
    """Inputs on which the law was tried; those that the test could not use are left out."""
    passed: bool = False
    problem: str = "is missing"

    @property
    def verdict(self) -> str:
        """What the table says."""
        return "holds" if self.passed and self.examples else f"**{self.problem}**"


@dataclass(slots=True, eq=False)
class Watch:
    """A pytest plugin that runs the tests that are listed, with all their parameters, and notes what they
    came to."""

    trials: dict[str, Trial] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what is not listed."""
        others = [item for item in items if _listed(item.nodeid) not in self.trials]
        items[:] = [item for item in items if _listed(item.nodeid) in self.trials]
        config.hook.pytest_deselected(items=others)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Note the outcome, and at the end the figures that Hypothesis leaves at the test."""
        outcome = yield
        report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
        trial = self.trials[_listed(item.nodeid)]
        if report.when == "call" and report.passed:
            trial.passed = trial.problem in ("is missing", "tried nothing")
            trial.problem = "tried nothing"
        elif not report.passed:
            trial.passed = False
            trial.problem = "was skipped" if report.skipped else "FAILS"
        if report.when == "teardown":
            found = _FIGURES.findall(str(getattr(item, "hypothesis_statistics", "")))
            trial.examples += sum(int(passing) + int(failing) for passing, failing in found)


def _listed(nodeid: str) -> str:
    """Return the id of a test without its parameters."""
    return nodeid.partition("[")[0]


def run(laws: Mapping[str, Sequence[str]], root: Path = ROOT) -> dict[str, Trial]:
    """Run the tests of all laws once; what pytest says goes to standard error. Returns what became of each,
    also of those that are not there."""
    watch = Watch({test: Trial() for tests in laws.values() for test in tests})
    files = sorted({test.partition("::")[0] for test in watch.trials})
    paths = [str(root / file) for file in files if (root / file).is_file()]
    options = [f"--rootdir={root}", f"--config-file={root}/pyproject.toml", "--continue-on-collection-errors"]
    quiet = ["--no-header", "--tb=short", "-p", "no:cacheprovider", "-W", "error"]
    if paths:
        with contextlib.redirect_stdout(sys.stderr):
            pytest.main([*options, *quiet, *paths], plugins=[watch])
    return watch.trials


def table(laws: Mapping[str, Sequence[str]], trials: Mapping[str, Trial]) -> str:
    """Return the Markdown table: a row for every test, the law in words at its first."""
    lines = ["| law | test | examples tried | verdict |", "|---|---|---:|---|"]
    for law, tests in laws.items():
        for number, test in enumerate(tests):
            trial = trials[test]
            words = law if number == 0 else ""
            lines.append(f"| {words} | `{test}` | {trial.examples:,} | {trial.verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Try all laws, print the table, and leave with 1 unless all hold."""
    clock = SystemClock()
    started_ms = clock.monotonic_ms()
    trials = run(LAWS)
    seconds = (clock.monotonic_ms() - started_ms) / 1_000
    broken = [test for test, trial in trials.items() if trial.verdict != "holds"]
    examples = sum(trial.examples for trial in trials.values())
    sys.stdout.write(
        f"{table(LAWS, trials)}\n\n{len(LAWS)} laws in {len(trials)} tests on {examples:,} examples, "
        f"{seconds:.0f} s; {f'{len(broken)} do not hold' if broken else 'all hold'}\n"
    )
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
