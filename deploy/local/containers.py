"""Kafka and PostgreSQL in containers, for `STACK=docker`: the same stack for whoever has a Docker engine."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing

from deploy.local import kafka, postgres
from deploy.local.errors import StackError
from deploy.local.parts import Probe
from deploy.local.ports import LOOPBACK, choose_port
from deploy.local.probes import kafka_ready

KAFKA_IMAGE, POSTGRES_IMAGE = "apache/kafka:4.3.1", "postgres:18"
CONTROLLER_PORT = 9093
READY_DEADLINE_S = 90.0


def start_containers(environment: Mapping[str, str], undo: ExitStack) -> dict[str, str]:
    """Starts a container for each part that no variable replaces, and returns their addresses.

    `undo` stops the containers; StackError when no Docker engine answers.
    """
    _ask_engine()
    addresses = {}
    if not environment.get(kafka.VARIABLE):
        addresses[kafka.VARIABLE] = _start_kafka(undo)
    if not environment.get(postgres.VARIABLE):
        addresses[postgres.VARIABLE] = _start_postgres(undo)
    return addresses


def _ask_engine() -> None:
    without = "Start Docker, or unset STACK to use the embedded Kafka and PostgreSQL."
    try:
        import docker  # type: ignore[import-untyped]
        import testcontainers  # noqa: F401
    except ImportError as error:
        raise StackError(
            f"STACK=docker needs the package {error.name}.",
            "Run make install, or unset STACK.",
        ) from error
    try:
        with closing(docker.from_env()) as engine:
            engine.ping()
    except docker.errors.DockerException as error:
        raise StackError(f"STACK=docker, but no Docker engine answers: {error}", without) from error


def _start_kafka(undo: ExitStack) -> str:
    from testcontainers.core.container import DockerContainer

    # The same number inside and outside, so that the one address it advertises is right on both sides.
    port = choose_port(kafka.BROKER_PORT)
    undo.callback(port.forget)
    settings = kafka.SETTINGS | {
        "listeners": f"PLAINTEXT://0.0.0.0:{port.number},CONTROLLER://{LOOPBACK}:{CONTROLLER_PORT}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port.number}",
        "controller.quorum.voters": f"1@{LOOPBACK}:{CONTROLLER_PORT}",
    }
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(port.number, port.number)
    for key, value in settings.items():
        container.with_env(f"KAFKA_{key.upper().replace('.', '_')}", value)
    port.release()
    undo.enter_context(container)
    _wait(kafka_ready(LOOPBACK, port.number), KAFKA_IMAGE)
    return f"{LOOPBACK}:{port.number}"


def _start_postgres(undo: ExitStack) -> str:
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(POSTGRES_IMAGE, username=postgres.USER, dbname=postgres.USER, driver=None)
    return str(undo.enter_context(container).get_connection_url(driver=None))


def _wait(probe: Probe, image: str) -> None:
    deadline_s = time.monotonic() + READY_DEADLINE_S
    while (reason := asyncio.run(probe(0))) is not None:
        if time.monotonic() > deadline_s:
            raise StackError(f"{image} was not ready within {READY_DEADLINE_S:.0f} s: {reason}.")
        time.sleep(0.2)
