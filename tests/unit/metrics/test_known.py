"""Only what changed is worked out again, and nobody can tell from the answers."""

from dataclasses import replace

import pytest

from libs.common.clock import ManualClock
from libs.statistics.pairs import exact_pairs
from schemas.experiments import Metric, MetricKind, MetricRole, Policy
from schemas.policies import Correction, Method
from services.metrics.domain.cases import Case
from services.metrics.domain.evidence import compare_all
from services.metrics.domain.known import Known, KnownByExperiment
from services.metrics.domain.memory import JudgeMemory
from services.metrics.domain.totals import ExperimentTotals
from services.metrics.handlers.judge import judge
from services.metrics.handlers.judge_due import JudgeDue
from tests.unit.metrics.events import T0
from tests.unit.metrics.test_judge import BREACH, EVEN, GOOD, running, totals
from tests.unit.metrics.test_judge_due import Cases

OTHER = Metric(name="other", conversion="c", role=MetricRole.GOAL)
ADJUSTED = Metric(name="adjusted", conversion="c", kind=MetricKind.MEAN, covariate_window_ms=1)


def joined(first: dict[str, tuple[int, int]], second: dict[str, tuple[int, int]]) -> ExperimentTotals:
    """Return totals of the metrics `good` and `other`."""
    found = totals(first)
    return replace(found, sums={**found.sums, **totals(second, metric="other").sums})


def test_what_is_equal_is_the_same_answer_and_what_changed_a_new_one() -> None:
    """Equal sums in new objects keep the comparison; another metric's change does not touch it."""
    known, experiment = Known(), running([GOOD, OTHER])
    first = compare_all(experiment, joined(EVEN, EVEN), known=known)
    same = compare_all(running([GOOD, OTHER]), joined(EVEN, EVEN), known=known)
    changed = compare_all(experiment, joined(EVEN, BREACH), known=known)
    assert all(one is two for one, two in zip(first, same, strict=True))
    assert first[0] is changed[0]
    assert first[1] is not changed[1]
    assert changed[1].breached is False
    assert changed[1].answer != first[1].answer


def test_a_policy_that_changed_is_a_new_question() -> None:
    """Under the same name nothing of another policy is answered."""
    known = Known()
    compare_all(running([GOOD]), totals(EVEN), known=known)
    policy = Policy(method=Method.BAYESIAN)
    found = compare_all(running([GOOD], policy=policy), totals(EVEN), known=known)
    assert found == compare_all(running([GOOD], policy=policy), totals(EVEN))


def test_the_adjustment_of_cuped_moves_all_variants() -> None:
    """A third variant's past changes the comparison of the others: it is worked out again."""
    known = Known()
    sums = {
        (key, "adjusted"): exact_pairs([(x % 9 + n, x % 9) for x in range(300)])
        for n, key in enumerate(("a", "b"))
    }
    found = replace(totals({}), sums=sums)
    before = compare_all(running([ADJUSTED]), found, known=known)
    sums["b", "adjusted"] = exact_pairs([(x % 9 + 1, x % 5) for x in range(300)])
    after = compare_all(running([ADJUSTED]), replace(totals({}), sums=dict(sums)), known=known)
    assert before[0].answer != after[0].answer


@pytest.mark.parametrize("method", Method)
def test_with_or_without_what_is_known_the_judgement_is_the_same(method: Method) -> None:
    """Five looks, some of them at nothing new: equal in every part, memory included."""
    policy = Policy(method=method, planned_units=20_000, correction=Correction.HOLM)
    experiment = running([GOOD, OTHER], policy=policy)
    known, with_known, without = Known(), JudgeMemory(), JudgeMemory()
    looks = ((EVEN, EVEN), (EVEN, EVEN), (EVEN, BREACH), (BREACH, BREACH), (EVEN, EVEN))
    for look, found in enumerate(joined(*each) for each in looks):
        one = judge(Case(experiment, found, with_known), T0 + look, known=known)
        two = judge(Case(experiment, found, without), T0 + look)
        assert one == two
        with_known, without = one.memory, two.memory


def test_a_new_revision_begins_with_nothing_and_old_experiments_are_forgotten() -> None:
    """What is kept is bounded by the number of experiments, the longest unjudged leaves first."""
    kept = KnownByExperiment(limit=2)
    one = kept.of("one", 1)
    assert kept.of("one", 1) is one
    assert kept.of("one", 2) is not one
    newest = kept.of("one", 2)
    kept.of("two", 1)
    assert kept.of("one", 2) is newest
    kept.of("three", 1)
    assert len(kept) == 2
    assert kept.of("one", 2) is newest


async def test_the_tick_keeps_what_it_worked_out() -> None:
    """Judged twice with the same sums, the published comparisons are the very same objects."""
    cases = Cases()
    due = JudgeDue(cases, ManualClock(T0), min_interval_ms=0)
    await due()
    await due()
    first, _, again, _ = cases.settled
    assert first.result is not None
    assert again.result is not None
    assert all(
        one is two for one, two in zip(first.result.comparisons, again.result.comparisons, strict=True)
    )
