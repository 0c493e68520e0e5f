"""The command line of the audit, connected to the real Kafka and PostgreSQL."""

import argparse
import asyncio
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field, SecretStr

from libs.common.bus.kafka import KafkaBus
from libs.common.clock import SystemClock
from libs.common.db.pool import connect
from libs.common.errors import Misconfigured, TrimtabError
from libs.common.settings import Settings, load
from services.metrics.audit.check import Audit, audit
from services.metrics.audit.errors import CannotAudit
from services.metrics.audit.published import PostgresPublished
from services.metrics.audit.recompute import GRACE_MS
from services.metrics.audit.report import (
    EXIT_CANNOT,
    as_json,
    as_text,
    exit_code,
    problem_as_json,
    problem_as_text,
)

SCHEMA = "metrics"
CONNECT_DEADLINE_MS = 10_000

DOES = "Recompute from the log what metrics has published of an experiment, and compare to the last digit."
EPILOG = """Exit code: 0 every number is equal, 1 some differ, 2 it cannot be said (and why).
KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL say where the log and the record are; METRICS_LEAK_GRACE_MS is what
it is for ingest. Reads only."""


class AuditSettings(Settings):
    """Where to read, and what ingest was told."""

    metrics_leak_grace_ms: int = Field(default=GRACE_MS, ge=0, le=86_400_000)


class Answer(NamedTuple):
    """What to print, and the exit code."""

    text: str
    code: int


def answer(arguments: Sequence[str]) -> Answer:
    """Carry out `EXPERIMENT [--json]`. A wrong command line ends the process with exit code 2."""
    told = _parser().parse_args(arguments)
    try:
        found = asyncio.run(_audit(told.experiment))
    except TrimtabError as error:
        return Answer((problem_as_json if told.json else problem_as_text)(error), EXIT_CANNOT)
    except Exception as error:  # noqa: BLE001 - Python would end with 1, which says that numbers differ
        traceback.print_exc()
        unforeseen = CannotAudit(
            f"{type(error).__name__}: {error}",
            next_step="see whether DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS name what ingest uses, and a "
            "user who may read there; else report it with the traceback on stderr",
        )
        return Answer((problem_as_json if told.json else problem_as_text)(unforeseen), EXIT_CANNOT)
    return Answer((as_json if told.json else as_text)(found), exit_code(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trimtab audit", description=DOES, epilog=EPILOG)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="the experiment's id")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


async def _audit(experiment_id: str) -> Audit:
    settings, clock = load(AuditSettings), SystemClock()
    if settings.database_url == SecretStr(""):
        raise Misconfigured(
            "settings: DATABASE_URL is not set",
            next_step="set it to the database of metrics",
        )
    bus = KafkaBus(settings.kafka_bootstrap_servers, client_id="metrics-audit", clock=clock)
    url = settings.database_url.get_secret_value()
    pool = await connect(url, schema=SCHEMA, deadline_ms=CONNECT_DEADLINE_MS, clock=clock, max_size=1)
    try:
        return await audit(experiment_id, bus, PostgresPublished(pool), settings.metrics_leak_grace_ms)
    finally:
        await pool.close()
