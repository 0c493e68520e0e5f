"""Trimtab's own processes, as data: what each is, what it needs, where it listens."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.local.homes import CHECKOUT, Home
from deploy.local.parts import Part
from deploy.local.ports import LOOPBACK, Port, choose_port
from deploy.local.probes import http_ready

FIRST_TELEMETRY_PORT = 9400


@dataclass(frozen=True)
class Service:
    """One process.

    A web service has a prefix: `<PREFIX>_PORT` tells it where to listen, `<PREFIX>_URL` tells the others.
    """

    name: str
    module: str
    argument: str
    waits_for: tuple[str, ...] = ("kafka", "postgres")
    needs: tuple[str, ...] = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
    prefix: str = ""
    preferred_port: int = 0


WITH_EXAMPLES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "EXAMPLES_DIR")

SERVICES = (
    Service("assignment", "services.assignment", "http", prefix="ASSIGNMENT", preferred_port=8081),
    Service("metrics-ingest", "services.metrics", "ingest"),
    Service("metrics-judge", "services.metrics", "judge"),
    Service("drift-ingest", "services.drift", "ingest", needs=WITH_EXAMPLES),
    Service("drift-judge", "services.drift", "judge", needs=WITH_EXAMPLES),
    Service(
        "retrainer",
        "services.retrainer",
        "worker",
        waits_for=("kafka", "postgres", "mlflow"),
        needs=(*WITH_EXAMPLES, "MLFLOW_TRACKING_URI"),
    ),
    Service(
        "gateway",
        "services.gateway",
        "http",
        needs=("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "ASSIGNMENT_URL"),
        prefix="GATEWAY",
        preferred_port=8080,
    ),
)


def service_parts(
    home: Home,
    addresses: Mapping[str, str],
    extra: Mapping[str, str],
    services: tuple[Service, ...] = SERVICES,
) -> tuple[list[Part], dict[str, str]]:
    """The services as parts, and the addresses they add (`GATEWAY_URL` and the like) for their callers."""
    listening = {service.name: choose_port(service.preferred_port) for service in services if service.prefix}
    telemetry = {
        service.name: choose_port(FIRST_TELEMETRY_PORT + number) for number, service in enumerate(services)
    }
    added = {
        f"{service.prefix}_URL": f"http://{LOOPBACK}:{listening[service.name].number}"
        for service in services
        if service.prefix
    }
    known = {**addresses, **added}
    parts = []
    for service in services:
        ports = [telemetry[service.name], *([listening[service.name]] if service.prefix else [])]
        parts.append(_part(service, home, {**known, **extra}, ports))
    return parts, added


def _part(service: Service, home: Home, known: Mapping[str, str], ports: list[Port]) -> Part:
    telemetry_url = f"http://{LOOPBACK}:{ports[0].number}"
    # Scratch files stay under the stack's own folder, so that they go with it.
    scratch = str(home.folder("scratch"))
    own = {"TELEMETRY_PORT": str(ports[0].number), "HOST": LOOPBACK, "TMPDIR": scratch}
    own["WORKER_NAME"] = service.name
    if service.prefix:
        own[f"{service.prefix}_PORT"] = str(ports[1].number)
    absent = [name for name in service.needs if name not in known]
    if absent:
        raise KeyError(f"{service.name} needs {', '.join(absent)}, which nothing in this stack provides")
    return Part(
        name=service.name,
        address=known[f"{service.prefix}_URL"] if service.prefix else telemetry_url,
        probe=http_ready(f"{telemetry_url}/health/ready"),
        command=(sys.executable, "-m", service.module, service.argument),
        environment={**known, **own, "PYTHONPATH": _python_path(), "PYTHONDONTWRITEBYTECODE": ""},
        folder=home.root,
        waits_for=service.waits_for,
        ports=tuple(ports),
        stop_deadline_s=20.0,
    )


def _python_path() -> str:
    return os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
