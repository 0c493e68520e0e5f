"""Small parts of drift: closing time, settings, the inlet of models, ADWIN."""

from pathlib import Path

import pytest

from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Record
from libs.common.clock import ManualClock
from libs.common.errors import Misconfigured
from libs.common.settings import load
from schemas.versions import ModelState
from services.drift.adapters.memory import MemoryLedger
from services.drift.adapters.river import AdwinDetector
from services.drift.config import IngestConfig, JudgeConfig
from services.drift.domain.closing import ClosingTime
from services.drift.domain.labels import is_real, label_text
from services.drift.domain.performance import ErrorWindow
from services.drift.entrypoints.inlet import ModelsInlet
from services.drift.handlers.learn_model import LearnModel


def test_slowest_partition_decides() -> None:
    """Windows close when the slowest partition that moves has passed them by the lateness."""
    closing = ClosingTime(lateness_ms=10, idle_ms=100)
    assert closing.closed_until({}, 0) == -1
    assert closing.closed_until({0: 1_000, 1: 900}, 0) == 890
    assert closing.closed_until({0: 2_000, 1: 900}, 50) == 890


def test_partition_at_rest_is_left_behind() -> None:
    """One that stands still while others move is waited for only so long, and nothing ever opens again."""
    closing = ClosingTime(lateness_ms=10, idle_ms=100)
    closing.closed_until({0: 1_000, 1: 900}, 0)
    assert closing.closed_until({0: 2_000, 1: 900}, 101) == 1_990
    assert closing.closed_until({0: 2_000, 1: 950}, 150) == 1_990
    assert closing.closed_until({0: 2_000, 1: 950}, 10_000) == 1_990


def test_partition_without_events_is_not_waited_for() -> None:
    """A partition at 0 has had only poison."""
    assert ClosingTime(lateness_ms=0, idle_ms=100).closed_until({0: 500, 1: 0}, 0) == 500


@pytest.mark.parametrize(
    ("label", "text", "real"),
    [(3, "3", False), (-0.0, "0", False), (2.5, "2.5", True), ("2.5", "2.5", False), (1e16, "1e+16", False)],
)
def test_labels_as_text(label: float | str, text: str, real: bool) -> None:
    """Whole numbers lose their point, text stays, and only fractions make a regressor."""
    assert (label_text(label), is_real(label)) == (text, real)


def test_settings_reach_the_domain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Environment variables, named after the setting, become limits and policy."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "host:1")
    monkeypatch.setenv("EXAMPLES_DIR", str(tmp_path))
    monkeypatch.setenv("DRIFT_WINDOW_MS", "5000")
    monkeypatch.setenv("DRIFT_PERSIST", "3")
    assert load(IngestConfig).limits().window_ms == 5_000
    assert load(JudgeConfig).policy().persist == 3


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("DRIFT_PERSIST", "4", "DRIFT_PERSIST_OF"), ("DRIFT_ALPHA", "0", "DRIFT_ALPHA")],
)
def test_impossible_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """A judge that could never alarm, or always, does not start."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "host:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=said):
        load(JudgeConfig)


@pytest.fixture
def inlet_parts() -> tuple[MemoryBus, MemoryLedger, ManualClock]:
    """Return a bus, a record and a clock."""
    clock = ManualClock()
    return MemoryBus(clock), MemoryLedger({}), clock


async def test_models_are_learnt_and_poison_is_buried(
    inlet_parts: tuple[MemoryBus, MemoryLedger, ManualClock],
) -> None:
    """A model's latest revision is kept; what is none is buried with its bytes; a tombstone passes."""
    bus, ledger, clock = inlet_parts
    producer = bus.producer()
    await producer.start()
    inlet = ModelsInlet(LearnModel(ledger), DeadLetters(producer, source="drift", clock=clock), clock)

    def record(value: bytes | None) -> Record:
        return Record("models", 0, 0, clock.now_ms(), b"m", value)

    def state(revision: int) -> ModelState:
        return ModelState(
            model="m", revision=revision, champion=None, challenger=None, updated_at_ms=0, reason=""
        )

    for value in (state(2).to_json(), state(1).to_json(), b"{}", None):
        await inlet(record(value))
    assert (await ledger.models())["m"].revision == 2
    assert len(bus.records("dead-letters")) == 1


@pytest.mark.parametrize("labelled", [20, 150, 5_000])
def test_adwin_finds_the_break(labelled: int) -> None:
    """The window from which the errors triple is found, however many labels a window has."""
    windows = [ErrorWindow(labelled, labelled // 10)] * 30 + [ErrorWindow(labelled, labelled // 2)] * 10
    place = AdwinDetector().last_change(windows)
    assert place is not None
    assert 30 <= place <= 36
    assert AdwinDetector().last_change(windows[:30]) is None
    assert AdwinDetector().last_change([ErrorWindow(0, 0)]) is None
