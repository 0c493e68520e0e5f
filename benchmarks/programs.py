"""The programs of the benchmark: what each is, how it is started, and why it cannot be where it cannot."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.pinned import ROOT

PEERS = ROOT / "benchmarks" / "peers"
JAVA_SOURCES = PEERS / "java"
KEEP = ROOT / ".trimtab" / "bench"
"""What is built once: the environment of the Python peers, the jars of the Java ones."""
REQUIREMENTS = ROOT / "requirements" / "bench.txt"
JAVA_RELEASE = 17
BUILD_TIMEOUT_S = 900

Command = list[str]


class Unavailable(Exception):
    """A program cannot be run here; says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """One row of the table. `small`: reads a tenth of the job, as the whole would take many minutes."""

    letter: str
    title: str
    command: Callable[[], Command]
    environment: dict[str, str] = field(default_factory=dict)
    small: bool = False
    shipped: bool = False


def ingest() -> Command:
    """Return the command of the product's own process."""
    return [sys.executable, "-m", "services.metrics", "ingest"]


def own(script: str) -> Callable[[], Command]:
    """Return the command of a peer that runs on the product's own environment."""
    return lambda: [sys.executable, str(PEERS / script)]


def apart(script: str) -> Callable[[], Command]:
    """Return the command of a peer whose packages do not go with the product's."""
    return lambda: [str(peer_python()), str(PEERS / script)]


def java(project: str, main: str) -> Callable[[], Command]:
    """Return the command of a peer in Java, after building its project."""
    return lambda: ["java", *JAVA_FLAGS, "-cp", f"{java_classes(project)}/*", main]


JAVA_FLAGS = (
    "-Xmx4g",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.time=ALL-UNNAMED",
)


def peer_python(requirements: Path = REQUIREMENTS, name: str = "venv") -> str:
    """Return the interpreter of the environment of that name for a requirements file, made when it is missing
    or older. Raises Unavailable."""
    uv = str(Path(sys.executable).with_name("uv"))
    home, stamp = KEEP / name, KEEP / name / "installed.txt"
    if not requirements.exists():
        raise Unavailable(f"requirements/{requirements.name} is missing")
    wanted = requirements.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        _build([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)])
        install = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(home / "bin" / "python")]
        _build([*install, str(requirements)])
        stamp.write_text(wanted)
    return str(home / "bin" / "python")


def java_classes(project: str) -> str:
    """Return the folder with the jars of a Java peer, built when they are older than their sources."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise Unavailable(f"no {tool} here; it needs Java {JAVA_RELEASE} and Maven")
    release = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S607
    if int(release.split('"')[1].split(".")[0]) < JAVA_RELEASE:
        raise Unavailable(f"java is older than {JAVA_RELEASE}: {release.splitlines()[0]}")
    sources = [each for each in JAVA_SOURCES.rglob("*") if each.is_file()]
    if not sources:
        raise Unavailable("its sources are missing")
    stamp = KEEP / project / "built"
    if not stamp.exists() or stamp.stat().st_mtime < max(each.stat().st_mtime for each in sources):
        _build(["mvn", "-q", "-B", "-f", str(JAVA_SOURCES / f"{project}.xml"), "package"])
        stamp.touch()
    return str(KEEP / project / "lib")


def _build(command: Command) -> None:
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} took longer than {BUILD_TIMEOUT_S} s") from error
    except FileNotFoundError as error:
        raise Unavailable(f"there is no {command[0]}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise Unavailable(f"{command[0].rsplit('/', 1)[-1]} failed: {said[0][:140]}")


PROGRAMS = (
    Program("a", "aiokafka getmany, counting only", own("raw.py")),
    Program(
        "b",
        "trimtab ingest, as shipped",
        ingest,
        shipped=True,
    ),
    Program("c", "Faust agents, state in a dict", own("faust_agent.py"), small=True),
    Program("C", "Faust agents, state in a table", own("faust_agent.py"), {"BENCH_TABLE": "1"}, small=True),
    Program("d", "Quix Streams", apart("quix.py")),
    Program("e", "Bytewax", apart("bytewax_flow.py")),
    Program("f", "aiokafka record by record, dicts", own("loop.py")),
    Program("g", "Kafka Streams, RocksDB, changelog", java("streams", "bench.KafkaStreamsJob")),
    Program(
        "G",
        "Kafka Streams, memory, no changelog",
        java("streams", "bench.KafkaStreamsJob"),
        {"BENCH_STORE": "memory"},
    ),
    Program("h", "Flink, checkpoints every 5 s", java("flink", "bench.FlinkJob")),
)
