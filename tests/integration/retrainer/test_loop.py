"""The worker as a process, with Kafka, PostgreSQL and MLflow: from a degradation to a promoted version."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from sklearn.datasets import load_digits

from libs.common.errors import Refused
from schemas.experiments import Experiment, ExperimentKind, ExperimentState, Variant
from schemas.health import Degradation, DegradationCause
from schemas.versions import Registration, VersionRole
from services.retrainer.adapters.artifacts import Artifacts
from tests.integration.retrainer.plant import CHECKOUT, CLOCK, MODEL, Bus, free_port, until, worker

SERVER = "/api/2.0/mlflow"

LOG_AND_REGISTER = """
import sys, mlflow, mlflow.sklearn, skops.io, sklearn
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

uri, name, file, *features = sys.argv[1:]
trusted = ["sklearn.tree._tree.Tree", "numpy.dtype"]
mlflow.set_tracking_uri(uri)
mlflow.set_experiment(f"demo-{name}")
inputs = Schema([ColSpec("double", each, required=False) for each in features])
with mlflow.start_run():
    logged = mlflow.sklearn.log_model(
        skops.io.load(file, trusted=trusted), name="model",
        signature=ModelSignature(inputs=inputs, outputs=Schema([ColSpec("string")])),
        pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"skops=={skops.__version__}"],
        serialization_format="skops", skops_trusted_types=trusted)
print("version", mlflow.register_model(logged.model_uri, name).version)
"""
"""How a program outside puts a version into MLflow, quickly: nothing is inferred."""


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server of our own, starting: it answers 10 to 30 s later, which the worker must bear."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    arguments = ["127.0.0.1", str(port), str(folder / "mlflow.db"), str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.mlflow_server", *arguments],
            cwd=CHECKOUT,
            stdout=log,
            stderr=log,
        )
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


@pytest.fixture
def environment(
    kafka_bootstrap_servers: str, database_url: str, mlflow_uri: str, tmp_path: Path
) -> Mapping[str, str]:
    """What the worker finds in its environment."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "DATABASE_URL": database_url,
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "EXAMPLES_DIR": str(tmp_path / "examples"),
        "TELEMETRY_PORT": str(free_port()),
        "LOG_FORMAT": "text",
        "RETRAINER_WORK_DIR": str(tmp_path / "work"),
        "RETRAINER_MIN_EXAMPLES": "800",
        "RETRAINER_TRAINER": "logistic_regression",
        "RETRAINER_POLL_MS": "200",
        "RETRAINER_RETRY_MS": "500",
        "RETRAINER_NICENESS": "0",
    }


def digits(shifted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images and their labels as text; shifted: the upper rows inverted by a fault."""
    table, labels = load_digits(return_X_y=True)
    table = table.copy()
    if shifted:
        table[:, :24] = 16 - table[:, :24]
    return table, labels.astype(str)


def write_examples(folder: Path, since_ms: int) -> None:
    """1,200 labelled predictions of version 1 in the new world, half of them wrong."""
    table, labels = (each[:1_200] for each in digits(shifted=True))
    place = folder / f"model={MODEL}" / "day=2026-01-01"
    place.mkdir(parents=True)
    columns = {
        "prediction_id": [f"p{each}" for each in range(len(labels))],
        "unit_id": [f"u{each % 100}" for each in range(len(labels))],
        "occurred_at_ms": [since_ms + each for each in range(len(labels))],
        "labelled_at_ms": [since_ms + each + 50 for each in range(len(labels))],
        "model_version": ["1"] * len(labels),
        "output": [label if number % 2 else "x" for number, label in enumerate(labels)],
        "label": list(labels),
        "confidence": [0.5] * len(labels),
        **{f"f_pixel_{each}": table[:, each] for each in range(64)},
    }
    # The day's name does not have to be today: only a margin of a day is looked at, so name it rightly.
    day = np.datetime64(since_ms, "ms").astype("datetime64[D]")
    place = place.rename(place.with_name(f"day={day}"))
    pq.write_table(pa.table(columns), place / "part-0.parquet")


def registration(version: str, role: VersionRole = VersionRole.CHAMPION) -> Registration:
    """A request to register."""
    return Registration(
        registration_id=f"{MODEL}-{version}-{role.value}",
        model=MODEL,
        version=version,
        role=role,
        requested_by="test",
        occurred_at_ms=CLOCK.now_ms(),
        reason="first",
    )


def trial(version: str) -> Experiment:
    """The promoted trial of a version."""
    now_ms = CLOCK.now_ms()
    return Experiment(
        experiment_id=f"{MODEL}-v{version}",
        kind=ExperimentKind.CHAMPION_CHALLENGER,
        model=MODEL,
        variants=(
            Variant(key="champion", model_version="1"),
            Variant(key="challenger", model_version=version),
        ),
        control="champion",
        state=ExperimentState.PROMOTED,
        revision=9,
        stage_started_at_ms=now_ms,
        created_at_ms=now_ms,
        started_at_ms=now_ms,
        updated_at_ms=now_ms,
        changed_by="metrics",
        reason="evidence",
    )


async def log_first_version(uri: str, folder: Path) -> None:
    """Train on the old world and put it into MLflow as a program outside does."""
    from services.retrainer.domain.trainers import TRAINERS

    table, labels = digits(shifted=False)
    skops.io.dump(TRAINERS["logistic_regression"].train(table[:600], labels[:600], 0), folder / "v1.skops")
    features = [f"pixel_{each}" for each in range(64)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOG_AND_REGISTER, uri, MODEL, str(folder / "v1.skops"), *features)
    )
    assert await process.wait() == 0


@pytest.mark.timeout(240)
async def test_degradation_to_promotion_through_kill_9(
    environment: Mapping[str, str], mlflow_uri: str, kafka_bootstrap_servers: str, tmp_path: Path
) -> None:
    """A worker that starts before MLflow, and is killed while it trains, ends with one version, the aliases
    and the states that follow from it; then it drains on SIGTERM with exit code 0."""
    bus = Bus(kafka_bootstrap_servers)
    await bus.prepare()
    reading = asyncio.ensure_future(bus.read())
    ready = f"http://127.0.0.1:{environment['TELEMETRY_PORT']}/health/ready"
    async with httpx.AsyncClient(base_url=mlflow_uri, timeout=10) as mlflow:

        async def answers(client: httpx.AsyncClient, url: str) -> bool:
            try:
                return (await client.get(url)).is_success
            except httpx.TransportError:
                return False

        async with worker(environment) as first:
            # Asked for while MLflow is still starting: it waits, and the worker is ready all the same.
            await bus.send("retraining", MODEL, registration("1"))
            await until("ready without MLflow", lambda: answers(mlflow, ready))
            await until("MLflow answers", lambda: answers(mlflow, "/health"))
            await log_first_version(mlflow_uri, tmp_path)
            await bus.send(
                "retraining",
                MODEL,
                registration("1", VersionRole.CHAMPION).model_copy(
                    update={"registration_id": f"{MODEL}-again"}
                ),
            )
            await until("a champion", lambda: later(bool(bus.states)))
            since_ms = CLOCK.now_ms() - 60_000
            write_examples(tmp_path / "examples", since_ms)
            await bus.send("degradations", MODEL, degradation(since_ms))
            work = tmp_path / "work"
            await until("training", lambda: later(any(work.glob("*/training-order.json"))))
            first.send_signal(signal.SIGKILL)
            await first.wait()
        async with worker(environment) as second:
            await until("a challenger", lambda: later(bus.states[-1].challenger))
            await until("the alias", lambda: alias(mlflow, "challenger", "2"))
            challenger = bus.states[-1].challenger
            assert challenger is not None
            assert (challenger.version, challenger.origin) == ("2", "retrained")
            assert challenger.reference is not None
            assert challenger.scores["gain"] > 0.3
            await check_version(mlflow, mlflow_uri, tmp_path)
            await bus.send("experiments", f"{MODEL}-v2", trial("2"))
            await until("the promotion", lambda: alias(mlflow, "champion", "2"))
            state = bus.states[-1]
            assert state.champion is not None
            assert (state.champion.version, state.challenger) == ("2", None)
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), 20) == 0
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert sum(state.challenger is not None for state in bus.states) == 1


async def later(value: object) -> object:
    """A value as something to wait for."""
    return value


async def alias(mlflow: httpx.AsyncClient, name: str, version: str) -> bool:
    """Does MLflow's alias name this version?"""
    response = await mlflow.get(f"{SERVER}/registered-models/alias", params={"name": MODEL, "alias": name})
    return response.is_success and response.json()["model_version"]["version"] == version


def degradation(since_ms: int) -> Degradation:
    """The model got worse."""
    return Degradation(
        degradation_id=f"{MODEL}-d1",
        model=MODEL,
        version="1",
        cause=DegradationCause.PERFORMANCE,
        occurred_at_ms=CLOCK.now_ms(),
        since_ms=since_ms,
        reason="accuracy fell to 0.5",
    )


async def check_version(mlflow: httpx.AsyncClient, uri: str, folder: Path) -> None:
    """There are two versions, the second with tags, card and reference, to be used over plain HTTP."""
    found = await mlflow.get(f"{SERVER}/model-versions/search", params={"filter": f"name='{MODEL}'"})
    versions = {each["version"]: each for each in found.json()["model_versions"]}
    assert sorted(versions) == ["1", "2"]
    tags = {each["key"]: each["value"] for each in versions["2"]["tags"]}
    assert tags["trimtab.cause_id"] == f"{MODEL}-d1"
    assert len(tags["trimtab.data_sha256"]) == 64
    assert "accuracy fell to 0.5" in versions["2"]["description"]
    place = await mlflow.get(
        f"{SERVER}/model-versions/get-download-uri", params={"name": MODEL, "version": "2"}
    )
    path = place.json()["artifact_uri"].removeprefix("mlflow-artifacts:/")
    reference = await mlflow.get(f"/api/2.0/mlflow-artifacts/artifacts/{path}/reference.json")
    assert len(json.loads(reference.content)["features"]) >= 60
    table, labels = digits(shifted=True)
    features = [f"pixel_{each}" for each in reversed(range(64))]
    await asyncio.to_thread(check_answers, uri, folder, features, table[1_200:, ::-1], labels[1_200:])


def check_answers(uri: str, folder: Path, features: list[str], table: np.ndarray, labels: np.ndarray) -> None:
    """Version 2 reads shifted images that it has not seen, whatever order the columns come in; 1 does not."""
    artifacts = Artifacts(uri, timeout_ms=10_000, folder=folder)
    accuracy = {
        version: np.mean(artifacts.answers(MODEL, version, features)(table) == labels)
        for version in ("1", "2")
    }
    with pytest.raises(Refused, match="404"):
        artifacts.answers(MODEL, "99", features)
    with pytest.raises(Refused, match="pixel_0"):
        artifacts.answers(MODEL, "2", features[:-1])
    artifacts.close()
    assert accuracy["2"] > 0.8 > accuracy["1"]
