"""A retrainer without anything outside: the ports in memory, and a clock that stands still."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from libs.common.clock import ManualClock
from schemas.event import Contract
from schemas.versions import ModelState, ReferenceProfile, Retraining
from services.retrainer.adapters.memory import MemoryCounter, MemoryRegistry, MemoryStore, MemoryWorkshop
from services.retrainer.domain.report import Comparison, TrainingOrder, TrainingReport
from services.retrainer.domain.rules import Rules
from services.retrainer.domain.validation import Thresholds
from services.retrainer.handlers.advance_run import AdvanceRun, Pace, Recipe
from services.retrainer.handlers.answer_request import AnswerRequest
from services.retrainer.handlers.follow_trials import FollowTrials
from services.retrainer.handlers.register_version import RegisterVersion
from services.retrainer.handlers.set_aliases import SetAliases
from services.retrainer.ports import TrainingResult

HOUR_MS = 3_600_000
REFERENCE = ReferenceProfile(predictions=10, features=())


@dataclass
class Retrainer:
    """All handlers on one memory."""

    clock: ManualClock = field(default_factory=ManualClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    registry: MemoryRegistry = field(default_factory=lambda: MemoryRegistry({"m": {"1"}}))
    counter: MemoryCounter = field(default_factory=MemoryCounter)
    accuracy: float = 0.9
    champion_accuracy: float = 0.6

    def __post_init__(self) -> None:
        """Wire the handlers."""
        rules = Rules(24 * HOUR_MS, 30 * 24 * HOUR_MS, 100, HOUR_MS, "random_forest")
        order = TrainingOrder(
            retraining_id="",
            model="",
            cause="",
            reason="",
            examples_dir=Path("/nowhere"),
            from_ms=0,
            until_ms=0,
            max_examples=1_000,
            trainer="random_forest",
            mlflow_tracking_uri="http://nowhere",
            registry_timeout_ms=1,
        )
        recipe = Recipe(order, rules, Thresholds(), Pace(poll_ms=1_000, retry_ms=5_000, max_attempts=3))
        self.workshop = MemoryWorkshop(self.make, self.registry)
        self.answer = AnswerRequest(self.store, self.clock, rules)
        self.register = RegisterVersion(self.store, self.registry, self.clock)
        self.set_aliases = SetAliases(self.store, self.registry, self.clock)
        self.trials = FollowTrials(self.store, self.clock)
        self.advance = AdvanceRun(self.store, self.counter, self.workshop, self.clock, recipe)

    def make(self, order: TrainingOrder) -> TrainingResult:
        """A training with the accuracies that are set."""
        mine = dict.fromkeys(
            ("accuracy", "f1", "precision_worst", "recall_worst", "confidence"), self.accuracy
        )
        comparison = Comparison(
            examples=500, candidate=mine, champion={"accuracy": self.champion_accuracy}, source="recorded"
        )
        report = TrainingReport(
            trainer="random_forest",
            parameters={},
            features=("x",),
            classes=("a", "b"),
            classes_are_numbers=False,
            trained_on=1_500,
            held_out=500,
            first_ms=1,
            split_ms=2,
            last_ms=3,
            data_hash="abc",
            scores=mine,
            champion_version=order.champion_version,
            comparison=comparison if order.champion_version else None,
            notes=(),
        )
        return TrainingResult(report, REFERENCE)

    def examples(self, count: int) -> None:
        """Let there be so many examples of model `m` now."""
        self.counter.times_ms["m"] = [self.clock.now_ms()] * count

    async def steps(self, most: int = 10, *, pause_ms: int = 0) -> None:
        """Take every step that is due, as the worker's duty does."""
        for _ in range(most):
            due = await self.store.due_runs(self.clock.now_ms())
            if not due:
                return
            for run in due:
                await self.advance(run)
            self.clock.advance(pause_ms)

    async def carry_out(self) -> None:
        """Carry out the queue of registrations and let the aliases follow."""
        for registration in await self.store.registrations():
            await self.register(registration)
        for state in await self.store.unaliased():
            await self.set_aliases(state)

    def said(self, topic: str) -> list[Contract]:
        """What was published on a topic, in order."""
        return [event for name, event in self.store.published if name == topic]

    def states(self) -> list[str]:
        """The states that were published on `retraining`."""
        return [each.state.value for each in self.said("retraining") if isinstance(each, Retraining)]

    def model(self) -> ModelState:
        """The latest state of the model."""
        state = self.said("models")[-1]
        assert isinstance(state, ModelState)
        return state


@pytest.fixture
def retrainer() -> Retrainer:
    """A retrainer whose model `m` lies in the registry as version 1, not yet registered with us."""
    return Retrainer()
