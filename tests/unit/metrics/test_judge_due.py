"""The leader's tick."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from libs.common.bus.control import control_message
from libs.common.bus.rules import too_large
from libs.common.clock import ManualClock
from libs.common.errors import Poison, Refused
from libs.statistics.sums import MICRO, Sums
from schemas.experiments import Metric, Variant
from schemas.facts import Exposure
from schemas.health import AlertState
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.memory import JudgeMemory
from services.metrics.handlers.judge_due import JudgeDue
from services.metrics.handlers.keep_definition import KeepDefinition, KeepPlan
from tests.unit.metrics.events import T0, experiment, exposure
from tests.unit.metrics.test_judge import EVEN, totals


class Cases:
    """Two experiments that are always due."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.settled: list[Judgement] = []
        self.kept: list[str] = []

    async def due(self, *, judged_before_ms: int, limit: int) -> Sequence[str]:
        """Return both."""
        self.asked.append((judged_before_ms, limit))
        return ["one", "two"]

    async def settle(self, experiment_id: str, decide: Callable[[Case], Judgement]) -> None:
        """Decide on the spot."""
        self.settled.append(decide(Case(experiment(experiment_id), totals(EVEN), JudgeMemory())))

    async def keep(self, known: object) -> None:
        """Remember the id."""
        self.kept.append(getattr(known, "experiment_id", ""))


async def test_a_tick_judges_what_is_due_and_waits_its_interval() -> None:
    """Every experiment that is due is settled; it asks for those judged an interval ago or earlier."""
    cases = Cases()
    await JudgeDue(cases, ManualClock(T0), min_interval_ms=1_000, limit=9)()
    assert cases.asked == [(T0 - 1_000, 9)]
    assert [each.result.experiment_id for each in cases.settled if each.result] == ["one", "two"]


class BusCases(Cases):
    """What is due: an experiment of the largest definition, then a small one. Like the database's, it takes
    nothing of a judgement whose event is larger than the bus allows."""

    def __init__(self) -> None:
        super().__init__()
        keys = ["a", *(f"variant-{number:02}" for number in range(49))]
        names = [f"metric-{number:02}" for number in range(50)]
        sums = Sums(1_000, 333, 333 * MICRO, 333 * MICRO**2)
        large = experiment(
            "one",
            variants=[Variant(key=key) for key in keys],
            metrics=[Metric(name=name, conversion=name) for name in names],
        )
        found = replace(
            totals(dict.fromkeys(keys, (1_000, 333))),
            sums={(key, name): sums for key in keys for name in names},
        )
        self.cases = {
            "one": Case(large, found, JudgeMemory()),
            "two": Case(experiment("two"), totals(EVEN), JudgeMemory()),
        }

    async def settle(self, experiment_id: str, decide: Callable[[Case], Judgement]) -> None:
        """Decide; keep the judgement and its memory unless one of its events is too large."""
        case = self.cases[experiment_id]
        found = decide(case)
        for event in (found.result, found.verdict, *found.alerts):
            if event is not None:
                message = control_message("results", "k", event, source="t", clock=ManualClock(T0))
                if refusal := too_large(message):
                    raise refusal
        self.settled.append(found)
        self.cases[experiment_id] = Case(case.experiment, case.totals, found.memory)


async def test_a_result_that_is_too_large_holds_up_no_other_experiment() -> None:
    """50 variants with 50 metrics: settled without its result, one alert is opened and stays, and the next
    experiment is judged; once the result fits, the alert is resolved."""
    cases = BusCases()
    due = JudgeDue(cases, ManualClock(T0), min_interval_ms=0)
    await due()
    large, small = cases.settled
    assert large.result is None
    assert [(each.cause, each.state) for each in large.alerts] == [("result-refused", AlertState.OPENED)]
    assert small.result is not None
    await due()
    assert cases.settled[2].alerts == ()
    memory = cases.cases["one"].memory
    cases.cases["one"] = Case(experiment("one"), totals(EVEN), memory)
    await due()
    assert [(each.cause, each.state) for each in cases.settled[4].alerts] == [
        ("result-refused", AlertState.RESOLVED)
    ]


async def test_a_refusal_without_end_is_logged_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Should even the judgement without a result be refused, the experiment after it is settled."""

    class Refusing(Cases):
        async def settle(self, experiment_id: str, decide: Callable[[Case], Judgement]) -> None:
            if experiment_id == "one":
                raise Refused("too large")
            await super().settle(experiment_id, decide)

    cases = Refusing()
    await JudgeDue(cases, ManualClock(T0), min_interval_ms=0)()
    assert len(cases.settled) == 1
    assert "not even a verdict" in caplog.text


async def test_definitions_go_to_the_store_and_the_plans() -> None:
    """Both keep an experiment, and call anything else poison."""
    cases, definitions = Cases(), Definitions()
    for keep in (KeepDefinition(cases), KeepPlan(definitions)):
        await keep(experiment("x"))
        stranger: Exposure = exposure("u", "a", 0)
        with pytest.raises(Poison):
            await keep(stranger)
    assert cases.kept == ["x"]
    assert len(definitions.plan("x").metrics) == 3
