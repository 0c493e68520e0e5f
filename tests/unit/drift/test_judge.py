"""The judge, from records to what it tells: drift, degradation, references and health."""

import pytest

from schemas.health import AlertState, HealthState, Severity
from services.drift.domain.partition import IngestLimits
from services.drift.handlers.judge import Judge
from tests.unit.drift.judged import PER_WINDOW, POLICY, WINDOW_MS, Make, NoChange, World


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
