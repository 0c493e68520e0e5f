"""Two partitions of drift, a judge and the traffic of one model, on the product's own memory parts."""

import random
from collections.abc import Callable, Sequence

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.clock import ManualClock
from libs.statistics.profiles import build_reference
from schemas.health import Alert, Degradation, ModelHealth
from schemas.versions import ModelState, ModelVersion, ReferenceProfile
from services.drift.adapters.memory import MemoryLedger
from services.drift.domain.partition import DriftPartition, IngestLimits
from services.drift.domain.performance import ErrorWindow
from services.drift.domain.policy import JudgePolicy
from services.drift.domain.rows import DriftRows
from services.drift.handlers.judge import Judge
from services.drift.handlers.learn_model import LearnModel

Make = Callable[..., Record]
WINDOW_MS = 1_000
PER_WINDOW = 120
POLICY = JudgePolicy(
    window_ms=WINDOW_MS,
    lateness_ms=100,
    idle_ms=5_000,
    min_predictions=50,
    reference_predictions=300,
    reference_labels=200,
    min_labelled=50,
    recent_windows=3,
)
REFERENCE = build_reference({"x": [float(each % 5) for each in range(1_000)]}, score=0.95)


class NoChange:
    """A detector that never sees a change."""

    def last_change(self, windows: Sequence[ErrorWindow]) -> int | None:
        """Return None."""
        return None


class World:
    """Two partitions, a judge, and traffic of one model."""

    def __init__(self, prediction: Make, feedback: Make, limits: IngestLimits) -> None:
        self._prediction, self._feedback, self._limits = prediction, feedback, limits
        self.states = [DriftPartition(limits), DriftPartition(limits)]
        self.published: dict[int, list[DriftRows]] = {0: [], 1: []}
        self.ledger = MemoryLedger(self.published)
        self.clock = ManualClock()
        self.judge = Judge(self.ledger, NoChange(), POLICY, self.clock)
        self.random = random.Random(5)
        self.count = 0
        self.at_ms = 0

    async def windows(
        self,
        number: int,
        *,
        shift: float = 0.0,
        accuracy: float = 0.95,
        version: str = "1",
        labels: bool = True,
    ) -> None:
        """Let `number` windows of traffic pass, and the judge look after each."""
        for _ in range(number):
            for step in range(PER_WINDOW):
                self._one(self.at_ms + step * WINDOW_MS // PER_WINDOW, shift, accuracy, version, labels)
            self.at_ms += WINDOW_MS
            await self.look()

    def _one(self, at_ms: int, shift: float, accuracy: float, version: str, labels: bool) -> None:
        self.count += 1
        state = self.states[self.count % 2]
        features = {"x": float(self.random.randrange(5)) + shift}
        record = self._prediction(self.count, at_ms, features=features, model_version=version)
        state.fold("predictions", Batch.of([record]))
        if labels:
            label = "a" if self.random.random() < accuracy else "b"
            state.fold("feedback", Batch.of([self._feedback(self.count, at_ms + 5, label=label)]))

    async def look(self) -> None:
        """Publish and judge."""
        for number, state in enumerate(self.states):
            self.published[number].append(state.rows())
        self.clock.advance(WINDOW_MS)
        await self.judge()

    async def register(
        self,
        champion: str = "1",
        challenger: str | None = None,
        reference: ReferenceProfile | None = REFERENCE,
    ) -> None:
        """Let the retrainer say who serves."""

        def version(name: str) -> ModelVersion:
            return ModelVersion(
                version=name, origin="registered", created_at_ms=int(name), reference=reference
            )

        await LearnModel(self.ledger)(
            ModelState(
                model="digits",
                revision=1,
                champion=version(champion),
                challenger=version(challenger) if challenger else None,
                updated_at_ms=0,
                reason="test",
            )
        )

    def health(self, version: str = "1") -> ModelHealth:
        """Return the latest health record of a version."""
        found = [
            ModelHealth.model_validate_json(each.value or b"")
            for each in self.ledger.sent
            if each.topic == "model-health"
        ]
        return [each for each in found if each.version == version][-1]

    def alerts(self) -> list[Alert]:
        """Return all alerts, in order."""
        return [
            Alert.model_validate_json(each.value or b"")
            for each in self.ledger.sent
            if each.topic == "alerts"
        ]

    def degradations(self) -> list[Degradation]:
        """Return all degradations, in order."""
        return [
            Degradation.model_validate_json(each.value or b"")
            for each in self.ledger.sent
            if each.topic == "degradations"
        ]
