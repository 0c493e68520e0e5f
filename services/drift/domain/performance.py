"""Is the model still as right as its reference says? On labelled predictions only."""

from collections.abc import Sequence
from typing import NamedTuple

from libs.statistics.accuracy import accuracy, level_at_look, lowest_score, shortfall_p_value
from services.drift.domain.journal import PerformanceVerdict
from services.drift.domain.policy import JudgePolicy
from services.drift.domain.rows import Tally
from services.drift.domain.windows import added


class ErrorWindow(NamedTuple):
    """What a detector of error changes is fed: one window's labels and how many answers were wrong."""

    labelled: int
    errors: int


class ReferenceScore(NamedTuple):
    """The accuracy when all was well, and on how many labels; of a registered score at most so many."""

    score: float
    labelled: int

    def lowest(self, level: float) -> float:
        """Return what the true accuracy was at least, but for a chance of `level`."""
        return lowest_score(self.score, self.labelled, level)


def judge_performance(
    tallies: Sequence[Tally], reference: ReferenceScore, look: int, policy: JudgePolicy
) -> PerformanceVerdict:
    """Return the verdict on the closed windows `tallies`, in order of time, at the `look`-th look.

    Bad: the accuracy over the recent windows is more than the margin below the reference (or below the floor)
    *and* the exact binomial test rejects "as good as the reference (or the floor)" at the level of this look.
    The reference is an estimate too: the test takes the lowest accuracy that its labels allow. Half of alpha
    is spent on that bound, half on the looks.
    Fewer labels than the minimum say nothing.
    """
    reference_score = reference.score
    recent = [each for each in tallies if each.labelled][-policy.recent_windows :]
    sums = added(recent)
    score = accuracy(sums.correct, sums.labelled)
    if score is None or sums.labelled < policy.min_labelled:
        return PerformanceVerdict(
            score,
            reference_score,
            sums.labelled,
            reason=f"{sums.labelled} labels in the recent windows, {policy.min_labelled} are needed",
        )
    level = level_at_look(policy.alpha / 2, look)
    p_value = shortfall_p_value(sums.correct, sums.labelled, reference.lowest(policy.alpha / 2))
    lost = reference_score - score > policy.margin and p_value <= level
    if policy.floor is not None and score < policy.floor:
        lost = lost or shortfall_p_value(sums.correct, sums.labelled, policy.floor) <= level
    return PerformanceVerdict(
        score, reference_score, sums.labelled, p_value, level,
        bad=lost,
        well=score >= reference_score - policy.margin / 2 and (policy.floor is None or score >= policy.floor),
        since_ms=_since(tallies, reference_score - policy.margin / 2) if lost else 0,
        reason=f"accuracy {score:.3f} on {sums.labelled} labels, reference {reference_score:.3f}",
    )  # fmt: skip


def enough_labels(tallies: Sequence[Tally], policy: JudgePolicy) -> bool:
    """Return True when the recent windows hold enough labels to count as a look."""
    recent = [each for each in tallies if each.labelled][-policy.recent_windows :]
    return added(recent).labelled >= policy.min_labelled


def error_windows(tallies: Sequence[Tally], policy: JudgePolicy) -> list[ErrorWindow]:
    """Return the errors of the last windows that have labels, in order of time."""
    labelled = [each for each in tallies if each.labelled][-policy.error_windows :]
    return [ErrorWindow(each.labelled, each.labelled - each.correct) for each in labelled]


def _since(tallies: Sequence[Tally], good: float) -> int:
    """The start of the unbroken run of bad windows up to now; windows without labels do not break it."""
    since_ms = tallies[-1].start_ms
    for each in reversed(tallies):
        score = accuracy(each.correct, each.labelled)
        if score is not None and score >= good:
            break
        if score is not None:
            since_ms = each.start_ms
    return since_ms
