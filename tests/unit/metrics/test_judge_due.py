"""The leader's tick."""

from collections.abc import Callable, Sequence

import pytest

from libs.common.clock import ManualClock
from libs.common.errors import Poison
from schemas.facts import Exposure
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
    assert [each.result.experiment_id for each in cases.settled] == ["one", "two"]


async def test_definitions_go_to_the_store_and_the_plans() -> None:
    """Both keep an experiment, and call anything else poison."""
    cases, definitions = Cases(), Definitions()
    for keep in (KeepDefinition(cases), KeepPlan(definitions)):
        await keep(experiment("x"))
        stranger: Exposure = exposure("u", "a", 0)
        with pytest.raises(Poison):
            await keep(stranger)
    assert cases.kept == ["x"]
    assert len(definitions.plan("x")) == 3
