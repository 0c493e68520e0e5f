"""Puts a stack together: for each part either its embedded process or the address that replaces it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deploy.local import kafka, mlflow, postgres
from deploy.local.homes import Home
from deploy.local.jars import Progress
from deploy.local.parts import Part
from deploy.local.probes import address_answers
from deploy.local.services import service_parts

QUIET = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONUNBUFFERED": "1"}
REPLACED = (kafka.VARIABLE, postgres.VARIABLE, mlflow.VARIABLE)


@dataclass(frozen=True)
class Wanted:
    """What a stack shall consist of, besides Kafka and PostgreSQL. `settings` reaches the services alone."""

    mlflow: bool = True
    services: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Assembly:
    """The parts, and the environment that tells a client where they are."""

    parts: tuple[Part, ...]
    addresses: Mapping[str, str]

    def forget_ports(self) -> None:
        """Gives up all ports of a stack that will not be started, or that has stopped."""
        for part in self.parts:
            for port in part.ports:
                port.forget()


def assemble(
    home: Home, environment: Mapping[str, str], wanted: Wanted, progress: Progress | None = None
) -> Assembly:
    """Chooses ports, fetches what is absent, and plans every process; StackError tells what is missing.

    MLflow comes first: it takes longest, and all but the retrainer start without waiting for it.
    """
    parts: list[Part] = []
    addresses: dict[str, str] = {}
    try:
        if wanted.mlflow:
            parts.append(_replaced(environment, mlflow.VARIABLE, mlflow.NAME) or mlflow.mlflow_part(home))
            addresses[mlflow.VARIABLE] = environment.get(mlflow.VARIABLE) or parts[-1].address
        parts.append(
            _replaced(environment, kafka.VARIABLE, kafka.NAME)
            or kafka.kafka_part(home, environment, progress)
        )
        addresses[kafka.VARIABLE] = environment.get(kafka.VARIABLE) or parts[-1].address
        part, addresses[postgres.VARIABLE] = _postgres(home, environment)
        parts.append(part)
        addresses["EXAMPLES_DIR"] = environment.get("EXAMPLES_DIR") or str(home.folder("examples"))
        if wanted.services:
            own, added = service_parts(home, addresses, wanted.settings)
            parts += own
            addresses |= added
    except BaseException:
        Assembly(tuple(parts), addresses).forget_ports()
        raise
    return Assembly(
        tuple(replace(one, environment=QUIET | dict(one.environment)) for one in parts), addresses
    )


def _postgres(home: Home, environment: Mapping[str, str]) -> tuple[Part, str]:
    part = _replaced(environment, postgres.VARIABLE, postgres.NAME)
    return (part, environment[postgres.VARIABLE]) if part else postgres.postgres_part(home)


def _replaced(environment: Mapping[str, str], variable: str, name: str) -> Part | None:
    address = environment.get(variable)
    if not address:
        return None
    shown = address.rpartition("@")[2] if "://" in address else address  # never a password
    return Part(name=name, address=f"{shown} (given)", probe=address_answers(address, variable))
