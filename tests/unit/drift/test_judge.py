"""The judge, from records to what it tells, on the product's own memory parts."""

import random
from collections.abc import Callable, Sequence

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.clock import ManualClock
from libs.statistics.profiles import build_reference
from schemas.health import Alert, AlertState, Degradation, HealthState, ModelHealth, Severity
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


@pytest.fixture
def world(prediction: Make, feedback: Make, limits: IngestLimits) -> World:
    """Return a world that stands at its beginning."""
    return World(prediction, feedback, limits)


async def test_all_is_well(world: World) -> None:
    """A registered model whose traffic looks like its reference is healthy, without any alert."""
    await world.register()
    await world.windows(12)
    health = world.health()
    assert health.state is HealthState.HEALTHY
    assert (health.predictions, health.labelled) == (12 * PER_WINDOW, 12 * PER_WINDOW)
    assert health.features[0].psi is not None
    assert health.performance.score == pytest.approx(0.95, abs=0.05)
    assert world.alerts() == []
    assert world.degradations() == []


async def test_drift_is_told_once(world: World) -> None:
    """A shifted input that costs no accuracy opens one alert of high severity and wakes nobody."""
    await world.register()
    await world.windows(4)
    await world.windows(8, shift=3.0)
    (alert,) = world.alerts()
    assert (alert.cause, alert.severity, alert.state) == ("drift", Severity.HIGH, AlertState.OPENED)
    assert world.health().state is HealthState.DRIFTING
    assert world.health().drifted_features == 1
    assert world.degradations() == []


async def test_drift_ends_after_calm_windows(world: World) -> None:
    """The episode is resolved under the same id after as many calm windows in a row as one looks back on."""
    await world.register()
    await world.windows(4)
    await world.windows(4, shift=3.0)
    await world.windows(3)
    assert [each.state for each in world.alerts()] == [AlertState.OPENED]
    await world.windows(2)
    opened, resolved = world.alerts()
    assert (opened.alert_id, resolved.state) == (resolved.alert_id, AlertState.RESOLVED)
    assert world.health().state is HealthState.HEALTHY


async def test_one_odd_window_is_no_drift(world: World) -> None:
    """Drift must persist: a single window tells nobody."""
    await world.register()
    await world.windows(4)
    await world.windows(1, shift=3.0)
    await world.windows(4)
    assert world.alerts() == []


async def test_lost_accuracy_wakes_the_retrainer_once(world: World) -> None:
    """A champion that is right half as often is degraded: one critical alert, one degradation that says since
    when."""
    await world.register()
    await world.windows(5)
    await world.windows(8, accuracy=0.4)
    (alert,) = world.alerts()
    assert (alert.cause, alert.severity) == ("performance", Severity.CRITICAL)
    (told,) = world.degradations()
    assert (told.model, told.version, told.cause) == ("digits", "1", "performance")
    begin_ms = world.published[0][0].progress.watermark_ms // WINDOW_MS * WINDOW_MS
    assert told.since_ms == begin_ms + 5 * WINDOW_MS
    assert told.evidence["p_value"] <= told.evidence["level"]
    assert world.health().state is HealthState.DEGRADED


async def test_challenger_wakes_nobody(world: World) -> None:
    """A challenger that does badly raises an alert: metrics rolls it back, the retrainer sleeps on. Once it
    is champion, the open episode is told."""
    await world.register(champion="7", challenger="1")
    await world.windows(8, accuracy=0.4)
    assert len(world.alerts()) == 1
    assert world.degradations() == []
    await world.register(champion="1")
    await world.look()
    assert len(world.degradations()) == 1


async def test_version_that_serves_no_longer_is_left_alone(world: World) -> None:
    """When the model moves on, the old version's episodes are resolved and no new ones open."""
    await world.register()
    await world.windows(5)
    await world.windows(5, accuracy=0.4)
    await world.register(champion="2")
    await world.windows(5, accuracy=0.4)
    assert [each.state for each in world.alerts()] == [AlertState.OPENED, AlertState.RESOLVED]
    assert "no longer serves" in world.alerts()[-1].detail


async def test_unregistered_model_makes_its_own_reference(world: World) -> None:
    """The first predictions of a model that nobody registered become its reference, unjudged; drift from them
    is told, but nobody is there to retrain."""
    await world.windows(2)
    assert world.health().state is HealthState.INSUFFICIENT
    assert "no reference profile" in world.health().reason
    await world.windows(5)
    assert world.health().state is HealthState.HEALTHY
    assert world.health().performance.reference_score == pytest.approx(0.95, abs=0.05)
    await world.windows(5, shift=3.0, accuracy=0.4)
    assert {each.cause for each in world.alerts()} == {"drift", "performance"}
    assert world.degradations() == []


async def test_registered_reference_replaces_the_own_one(world: World) -> None:
    """A profile that is registered later counts from then on, and the looks begin anew."""
    await world.windows(6, shift=3.0)
    assert world.health().state is HealthState.HEALTHY
    await world.register()
    await world.windows(4, shift=3.0)
    assert world.health().state is HealthState.DRIFTING


async def test_no_labels_no_performance(world: World) -> None:
    """Without labels performance is unknown and said so; the inputs are judged all the same."""
    await world.register()
    await world.windows(6, labels=False)
    health = world.health()
    assert health.state is HealthState.HEALTHY
    assert health.performance.score is None
    assert "0 labels" in health.reason


async def test_thin_traffic_is_insufficient(world: World) -> None:
    """A window with too few predictions says nothing, neither drift nor health."""
    await world.register()
    for _ in range(6):
        world._one(world.at_ms, 3.0, 0.9, "1", True)
        world.at_ms += WINDOW_MS
        await world.look()
    assert world.health().state is HealthState.INSUFFICIENT
    assert world.alerts() == []


async def test_text_features_are_named_and_left_out(world: World, prediction: Make) -> None:
    """Features that are text are counted, left out of drift, and named in the reason."""
    await world.register()
    for _ in range(3):
        await world.windows(1)
        record = prediction(world.count + 10_000, world.at_ms, features={"city": "Rome", "x": 1.0})
        world.count += 1
        world.states[0].fold("predictions", Batch.of([record]))
    await world.windows(2)
    assert any("not numeric: city" in str(each.value) for each in world.ledger.sent)


async def test_regressors_are_not_called_wrong(world: World, prediction: Make, feedback: Make) -> None:
    """Real-valued outputs never equal their labels: accuracy does not apply, and nobody is alarmed."""
    await world.register()
    for number in range(600):
        record = prediction(number, number * 10, output=number + 0.5)
        world.states[0].fold("predictions", Batch.of([record]))
        world.states[0].fold("feedback", Batch.of([feedback(number, number * 10, label=number + 0.25)]))
        if number % 100 == 99:
            await world.look()
    assert "regressor" in world.health().performance.reason
    assert world.alerts() == []


async def test_judging_twice_tells_once(world: World) -> None:
    """A second judge on the same record finds nothing to judge and opens nothing again."""
    await world.register()
    await world.windows(5)
    await world.windows(5, accuracy=0.4)
    told = len(world.alerts()), len(world.degradations())
    other = Judge(world.ledger, NoChange(), POLICY, world.clock)
    await other()
    assert (len(world.alerts()), len(world.degradations())) == told


async def test_health_is_told_when_it_changes(world: World) -> None:
    """Rounds without news publish nothing."""
    await world.register()
    await world.windows(3)
    sent = len(world.ledger.sent)
    await world.look()
    await world.look()
    assert len(world.ledger.sent) == sent


async def test_versions_have_records_of_their_own(world: World) -> None:
    """Champion and challenger are kept under different keys, or compaction would lose one."""
    await world.register(challenger="2")
    await world.windows(1)
    await world.windows(1, version="2")
    keys = {each.key for each in world.ledger.sent if each.topic == "model-health"}
    assert keys == {"digits.1", "digits.2"}


async def test_old_windows_go(world: World) -> None:
    """Judged windows beyond those that are kept are deleted."""
    await world.register()
    await world.windows(3)
    world.at_ms += 300 * WINDOW_MS
    await world.windows(3)
    (tallies,) = (await world.ledger.tallies()).values()
    assert len(tallies) <= 3


async def test_idle_partition_holds_nobody_back(world: World, prediction: Make) -> None:
    """A partition without traffic is waited for as long as stated, then windows close without it."""
    await world.register()
    world.states[1].fold("predictions", Batch.of([prediction(99_999)]))
    judged = []
    for number in range(900):
        world.states[0].fold("predictions", Batch.of([prediction(number, number * 10)]))
        if number % 100 == 99:
            await world.look()
            judged.append(world.health().window_predictions)
    assert judged[:5] == [0] * 5
    assert world.health().window_predictions > 0


async def _without_values(world: World, prediction: Make, windows: int) -> None:
    """Let windows pass whose predictions do not carry the feature of the reference."""
    for _ in range(windows):
        for step in range(PER_WINDOW):
            world.count += 1
            record = prediction(world.count, world.at_ms + step, features={"other": 1.0})
            world.states[world.count % 2].fold("predictions", Batch.of([record]))
        world.at_ms += WINDOW_MS
        await world.look()


async def test_no_evidence_is_not_calm(world: World, prediction: Make) -> None:
    """Windows in which the drifted feature is missing do not end its episode; windows that show it do."""
    await world.register()
    await world.windows(3, labels=False)
    await world.windows(4, shift=3.0, labels=False)
    await _without_values(world, prediction, 6)
    assert [each.state for each in world.alerts()] == [AlertState.OPENED]
    await world.windows(5, labels=False)
    assert [each.state for each in world.alerts()] == [AlertState.OPENED, AlertState.RESOLVED]


async def test_no_evidence_is_not_health(world: World, prediction: Make) -> None:
    """A version of which neither a feature nor the score was judged is insufficient, and says why."""
    await world.register()
    await _without_values(world, prediction, 6)
    assert world.health().state is HealthState.INSUFFICIENT
    assert "no feature could be judged" in world.health().reason
