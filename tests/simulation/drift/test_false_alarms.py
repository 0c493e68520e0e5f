"""Does drift alarm without cause, and does it see what it should? Digits-like traffic through the product.

64 features: many few-valued, some constant, some continuous. Windows of 500 predictions against a reference
of 2,000, seeded.
"""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.clock import ManualClock
from libs.statistics.accuracy import level_at_look
from libs.statistics.profiles import build_reference
from libs.statistics.value_counts import ValueCounts
from schemas.health import DriftState
from schemas.versions import ModelState, ModelVersion
from services.drift.adapters.memory import MemoryLedger
from services.drift.adapters.river import AdwinDetector
from services.drift.domain.answers import Horizons
from services.drift.domain.features import judge_features
from services.drift.domain.partition import DriftPartition, IngestLimits
from services.drift.domain.performance import ErrorWindow
from services.drift.domain.policy import JudgePolicy
from services.drift.domain.rows import DriftRows
from services.drift.handlers.judge import Judge

FEATURES = 64
WINDOW_MS = 5_000
T0 = 1_700_000_000_000
POLICY = JudgePolicy(window_ms=WINDOW_MS, lateness_ms=1_000, idle_ms=60_000)
Matrix = NDArray[np.float64]


def _digits(generator: np.random.Generator, rows: int) -> Matrix:
    """Pixels 0..16 of many kinds: constant, nearly always 0, bimodal, spread; the last eight continuous."""
    columns = []
    for number in range(FEATURES):
        if number % 8 == 0:
            columns.append(np.zeros(rows))
        elif number % 8 == 7:
            columns.append(generator.normal(number, 1 + number, rows))
        else:
            ink = generator.random(rows) < 0.02 + number / 70
            columns.append(np.where(ink, generator.binomial(16, 0.2 + number / 100, rows), 0.0))
    return np.column_stack(columns)


def _features(matrix: Matrix) -> dict[str, list[float]]:
    return {f"p{number:02d}": matrix[:, number].tolist() for number in range(matrix.shape[1])}


def test_no_feature_drifts_without_cause() -> None:
    """Over five versions' lives of 80 windows with 64 features each, no feature of any window drifts, nor is
    the evidence alone ever enough: at α = 0.01 per life one in twenty such simulations may have one."""
    generator = np.random.default_rng(3)
    drifted = certain = 0
    for _ in range(5):
        reference = build_reference(_features(_digits(generator, 2_000)), score=None)
        for look in range(1, 81):
            features = _features(_digits(generator, 500))
            counts = {name: ValueCounts.of(values) for name, values in features.items()}
            verdicts = judge_features(reference, counts, look, POLICY)
            level = level_at_look(POLICY.alpha, look) / FEATURES
            drifted += sum(each.state is DriftState.DRIFTED for each in verdicts)
            certain += sum(each.ks_p_value is not None and each.ks_p_value <= level for each in verdicts)
    assert drifted == certain == 0


@pytest.mark.parametrize("shift", ["sensor", "scale"])
def test_shift_is_seen_in_the_first_window(shift: str) -> None:
    """Stuck pixels and a gain of 1.5 on the continuous features are seen at the 50th look, each feature by
    itself, and no feature that stayed."""
    generator = np.random.default_rng(4)
    reference = build_reference(_features(_digits(generator, 2_000)), score=None)
    matrix = _digits(generator, 500)
    moved = {f"p{number:02d}" for number in (range(16, 24) if shift == "sensor" else range(31, 64, 8))}
    for name in moved:
        column = int(name[1:])
        matrix[:, column] = 16 - matrix[:, column] if shift == "sensor" else 2.5 * matrix[:, column]
    counts = {name: ValueCounts.of(values) for name, values in _features(matrix).items()}
    verdicts = judge_features(reference, counts, 50, POLICY)
    assert {each.feature for each in verdicts if each.state is DriftState.DRIFTED} == moved


def test_adwin_is_calm_on_a_steady_model_and_wakes_on_a_broken_one() -> None:
    """On 200 steady streams of 64 windows with 10 % errors ADWIN speaks in fewer than 5 %; when the errors go
    to 40 % it says so within two windows."""
    generator = np.random.default_rng(5)
    detector, false_alarms, delays = AdwinDetector(), 0, []
    for _ in range(200):
        steady = [ErrorWindow(300, int(each)) for each in generator.binomial(300, 0.10, 64)]
        false_alarms += detector.last_change(steady) is not None
        broken = [ErrorWindow(300, int(each)) for each in generator.binomial(300, 0.40, 2)]
        place = detector.last_change([*steady[:60], *broken])
        delays.append(99 if place is None or place < 60 else place - 59)
    assert false_alarms < 10
    assert max(delays) <= 2


class _Traffic:
    """One partition, one registered champion, the judge with its real detector."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.state = DriftPartition(
            IngestLimits(WINDOW_MS, Horizons(60_000, 60_000, 100_000), 10, 10, 10_000, 10_000)
        )
        self.published: dict[int, list[DriftRows]] = {0: []}
        self.ledger = MemoryLedger(self.published)
        self.clock = ManualClock(T0)
        self.judge = Judge(self.ledger, AdwinDetector(), POLICY, self.clock)
        self.count = 0

    async def register(self) -> None:
        """Let the retrainer name the champion and its reference."""
        reference = build_reference(_features(_digits(self.generator, 2_000)), score=0.93)
        champion = ModelVersion(version="1", origin="registered", created_at_ms=0, reference=reference)
        await self.ledger.learn(
            ModelState(model="m", revision=1, champion=champion, challenger=None, updated_at_ms=0, reason="")
        )

    async def window(self, *, broken: bool = False) -> None:
        """Let 250 labelled predictions pass in one window."""
        matrix = _digits(self.generator, 250)
        if broken:
            matrix[:, 16:32] = 16 - matrix[:, 16:32]
        right = self.generator.random(250) < (0.6 if broken else 0.93)
        begin_ms = T0 - T0 % WINDOW_MS + self.count // 250 * WINDOW_MS
        predictions, labels = [], []
        for row in range(250):
            self.count += 1
            at_ms = begin_ms + row * 20
            base = {"occurred_at_ms": at_ms, "unit_id": "u", "model": "m"}
            features = {f"p{number:02d}": value for number, value in enumerate(matrix[row].tolist())}
            made = {"type": "prediction", "event_id": f"p{self.count}", "model_version": "1", "output": "a"}
            told = {"type": "feedback", "event_id": f"f{self.count}", "prediction_id": f"p{self.count}"}
            predictions.append({**base, **made, "features": features})
            labels.append({**base, **told, "label": "a" if right[row] else "b"})
        for topic, events in (("predictions", predictions), ("feedback", labels)):
            self.state.fold(
                topic,
                Batch.of(
                    [
                        Record(topic, 0, each, T0 + 10**9, b"", json.dumps(event).encode())
                        for each, event in enumerate(events)
                    ]
                ),
            )
        self.published[0].append(self.state.rows())
        self.clock.advance(WINDOW_MS)
        await self.judge()

    def told(self, topic: str) -> int:
        """Return how many messages were sent on `topic`."""
        return sum(each.topic == topic for each in self.ledger.sent)


async def test_a_quiet_life_and_its_end() -> None:
    """60 quiet windows tell nobody anything; after the break drift and degradation are told within four
    windows, once each."""
    traffic = _Traffic(6)
    await traffic.register()
    for _ in range(60):
        await traffic.window()
    assert traffic.told("alerts") == traffic.told("degradations") == 0
    windows = 0
    while not traffic.told("degradations"):
        windows += 1
        assert windows <= 4
        await traffic.window(broken=True)
    for _ in range(10):
        await traffic.window(broken=True)
    assert traffic.told("degradations") == 1
    assert traffic.told("alerts") == 2
