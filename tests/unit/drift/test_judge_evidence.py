"""What the judge makes of too little, of other kinds of values, and of nothing."""

import pytest

from libs.common.bus.batches import Batch
from schemas.health import AlertState, HealthState
from services.drift.domain.partition import IngestLimits
from tests.unit.drift.judged import PER_WINDOW, WINDOW_MS, Make, World


@pytest.fixture
def world(prediction: Make, feedback: Make, limits: IngestLimits) -> World:
    """Return a world that stands at its beginning."""
    return World(prediction, feedback, limits)


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
