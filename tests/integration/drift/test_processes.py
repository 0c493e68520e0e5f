"""Both processes of drift, as they run in production, on Apache Kafka and PostgreSQL."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pyarrow.parquet as pq
import pytest

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from libs.statistics.profiles import build_reference
from schemas.health import Degradation, HealthState, ModelHealth
from schemas.versions import ModelState, ModelVersion

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0
SETTINGS = {
    "DRIFT_WINDOW_MS": "1000",
    "DRIFT_LATENESS_MS": "200",
    "DRIFT_IDLE_MS": "3000",
    "DRIFT_MIN_PREDICTIONS": "30",
    "DRIFT_MIN_LABELLED": "50",
    "DRIFT_RECENT_WINDOWS": "3",
    "DRIFT_FLUSH_INTERVAL_MS": "500",
    "DRIFT_PUBLISH_INTERVAL_MS": "200",
    "DRIFT_SNAPSHOT_INTERVAL_MS": "2000",
    "DRIFT_TICK_MS": "300",
    "LOG_FORMAT": "text",
}


@dataclass
class Setting:
    """Where the processes of one test run, and what was sent."""

    environment: dict[str, str]
    examples: Path
    bus: KafkaBus
    database_url: str
    model: str = field(default_factory=lambda: f"m{uuid.uuid4().hex[:10]}")
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    predictions: int = 0

    def start(self, argument: str) -> subprocess.Popen[bytes]:
        """Start one process of drift."""
        command = [sys.executable, "-m", "services.drift", argument]
        process = subprocess.Popen(command, cwd=ROOT, env=self.environment)
        self.processes.append(process)
        return process


@pytest.fixture
def setting(kafka_bootstrap_servers: str, database_url: str, tmp_path: Path) -> Iterator[Setting]:
    """Return a place for processes; those that still run at the end are killed."""
    examples = tmp_path / "examples"
    environment = {
        **os.environ,
        **SETTINGS,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "DATABASE_URL": database_url,
        "EXAMPLES_DIR": str(examples),
        "DRIFT_GROUP": f"drift-{uuid.uuid4().hex[:8]}",
    }
    bus = KafkaBus(kafka_bootstrap_servers, client_id="test", clock=SystemClock())
    made = Setting(environment, examples, bus, database_url)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@asynccontextmanager
async def _traffic(setting: Setting, *, accuracy: float, shift: float) -> AsyncIterator[None]:
    """Send about 200 labelled predictions a second while the block runs."""
    running = asyncio.ensure_future(_send(setting, accuracy, shift))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _send(setting: Setting, accuracy: float, shift: float) -> None:
    chance, clock = random.Random(1), SystemClock()
    producer = setting.bus.producer()
    await producer.start()
    try:
        while True:
            messages = []
            for _ in range(20):
                at_ms, unit = clock.now_ms(), f"u{chance.randrange(200)}"
                base = {"occurred_at_ms": at_ms, "unit_id": unit, "model": setting.model}
                name = f"{setting.model}-{setting.predictions}"
                features = {"x": chance.randrange(5) + shift, "y": chance.random()}
                made = {
                    "type": "prediction",
                    "event_id": name,
                    "model_version": "1",
                    "features": features,
                    "output": 3,
                }
                told = {"type": "feedback", "event_id": f"f-{name}", "prediction_id": name}
                label = 3 if chance.random() < accuracy else 4
                messages.append(Message("predictions", unit, json.dumps({**base, **made}).encode()))
                messages.append(
                    Message("feedback", unit, json.dumps({**base, **told, "label": label}).encode())
                )
                setting.predictions += 1
            answers = await asyncio.shield(producer.send_all(messages))
            assert not [each for each in answers if isinstance(each, Exception)]
            await asyncio.sleep(0.1)
    finally:
        await producer.stop()


async def _register(setting: Setting) -> None:
    chance = random.Random(2)
    reference = build_reference(
        {
            "x": [float(chance.randrange(5)) for _ in range(2_000)],
            "y": [chance.random() for _ in range(2_000)],
        },
        score=0.95,
    )
    champion = ModelVersion(version="1", origin="registered", created_at_ms=1, reference=reference)
    state = ModelState(
        model=setting.model, revision=1, champion=champion, challenger=None, updated_at_ms=1, reason="test"
    )
    await setting.bus.admin().ensure_topics(
        ["models", "predictions", "feedback", "model-health", "degradations", "alerts"]
    )
    producer = setting.bus.producer()
    await producer.start()
    await producer.send(Message("models", setting.model, state.to_json()))
    await producer.stop()


async def _until_health(setting: Setting, state: HealthState) -> ModelHealth:
    """Return the first health record of the model in this state. Fails at the deadline."""
    consumer = setting.bus.reader(["model-health"])
    await consumer.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for records in (await consumer.fetch(timeout_ms=500, max_records=500)).values():
                    for record in records:
                        health = ModelHealth.model_validate_json(record.value or b"")
                        if health.model == setting.model and health.state is state:
                            return health
    finally:
        await consumer.stop()


async def _degradations(setting: Setting) -> list[Degradation]:
    """Return all degradations of the model that are in the log now."""
    consumer = setting.bus.reader(["degradations"])
    await consumer.start()
    found = []
    try:
        while batch := await consumer.fetch(timeout_ms=1_000, max_records=500):
            found += [
                Degradation.model_validate_json(each.value or b"") for part in batch.values() for each in part
            ]
    finally:
        await consumer.stop()
    return [each for each in found if each.model == setting.model]


async def _until_counted(setting: Setting, predictions: int) -> tuple[int, int]:
    """Return the totals once all predictions are counted. Fails at the deadline."""
    connection = await asyncpg.connect(setting.database_url)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                row = await connection.fetchrow(
                    "SELECT sum(predictions) AS p, sum(labelled) AS l FROM drift.totals WHERE model = $1",
                    setting.model,
                )
                assert row is not None
                if (row["p"] or 0) >= predictions and row["p"] == row["l"]:
                    return int(row["p"]), int(row["l"])
                await asyncio.sleep(0.2)
    finally:
        await connection.close()


def _example_ids(setting: Setting) -> list[str]:
    files = sorted((setting.examples / f"model={setting.model}").rglob("part-*.parquet"))
    return [name for path in files for name in pq.ParquetFile(path).read()["prediction_id"].to_pylist()]


async def test_from_predictions_to_a_degradation(setting: Setting) -> None:
    """Healthy traffic is found healthy; when inputs and accuracy break, the champion is degraded, once, with
    examples on the disk; a kill -9 of ingest in between loses and repeats nothing in the counts."""
    await _register(setting)
    ingest, judge = setting.start("ingest"), setting.start("judge")
    async with _traffic(setting, accuracy=0.95, shift=0.0):
        healthy = await _until_health(setting, HealthState.HEALTHY)
        assert {each.feature for each in healthy.features} == {"x", "y"}
        ingest.send_signal(signal.SIGKILL)
        ingest.wait(10)
        ingest = setting.start("ingest")
    async with _traffic(setting, accuracy=0.3, shift=3.0):
        degraded = await _until_health(setting, HealthState.DEGRADED)
        assert degraded.performance.score is not None
        assert degraded.performance.score < 0.85
        assert degraded.offsets
    (told,) = await _degradations(setting)
    assert (told.version, told.cause) == ("1", "performance")
    assert await _until_counted(setting, setting.predictions) == (setting.predictions, setting.predictions)
    ids = _example_ids(setting)
    assert len(set(ids)) > setting.predictions / 2
    assert {each.split("-")[0] for each in ids} == {setting.model}
    for process in (ingest, judge):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(20) for process in (ingest, judge)] == [0, 0]


def test_missing_settings_are_named() -> None:
    """Without its settings a process says which variable to set and ends with 2."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("EXAMPLES_DIR", "KAFKA_BOOTSTRAP_SERVERS")
    }
    done = subprocess.run(
        [sys.executable, "-m", "services.drift", "ingest"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert b"EXAMPLES_DIR" in done.stderr
