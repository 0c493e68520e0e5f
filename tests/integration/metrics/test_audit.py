"""`trimtab audit` as a program, after a real ingest process: equal; then one stored number is changed."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.facts import Conversion, Exposure
from services.metrics.bootstrap.ground import TOPICS

DEADLINE_S = 60
UNITS = 400


class Ended(NamedTuple):
    """What a program left."""

    code: int
    out: str


def definition(key: str, now_ms: int) -> Experiment:
    """Return a running experiment with all that ingest measures."""
    return Experiment(
        experiment_id=key,
        variants=(Variant(key="good"), Variant(key="bad")),
        control="good",
        metrics=(
            Metric(name="bought", conversion="purchase"),
            Metric(
                name="revenue",
                conversion="purchase",
                kind=MetricKind.MEAN,
                upper_bound=50.0,
                covariate_window_ms=60_000,
            ),
            Metric(name="orders", conversion="purchase", kind=MetricKind.COUNT),
            Metric(name="basket", conversion="purchase", kind=MetricKind.RATIO, denominator="visit"),
            Metric(name="typical", conversion="purchase", kind=MetricKind.QUANTILE, quantile=0.9),
        ),
        breakdowns=(Breakdown(attribute="land", values=("de", "fr")),),
        state=ExperimentState.RUNNING,
        revision=1,
        stage_started_at_ms=now_ms,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        changed_by="test",
        reason="test",
    )


def facts(key: str, now_ms: int) -> list[Message]:
    """Return the events of the units: repeated, before the exposure, in both variants, and one poison."""
    found = []
    for number in range(UNITS):
        unit, at_ms = f"{key}-{number}", now_ms - number * 20_000
        for variant in ("good", "bad") if number % 50 == 0 else ("good",) if number % 2 else ("bad",):
            exposure = Exposure(
                event_id=f"e-{variant}",
                occurred_at_ms=at_ms,
                unit_id=unit,
                experiment_id=key,
                variant=variant,
                attributes={"land": ["de", "fr", "it"][number % 3]} if number % 4 else {},
            )
            found += [Message("exposures", unit, exposure.to_json())] * (1 + number % 2)
        for step in range(number % 3):
            conversion = Conversion(
                event_id=f"c-{step}",
                occurred_at_ms=at_ms + (step * 2 - 1) * 1_000,
                unit_id=unit,
                name="visit" if number % 5 == 0 else "purchase",
                value=number / 7,
            )
            found.append(Message("conversions", unit, conversion.to_json()))
    return [*found, Message("conversions", f"{key}-1", b"{")]


def surroundings(kafka_bootstrap_servers: str, database_url: str) -> dict[str, str]:
    """Return the environment of the programs."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "DATABASE_URL": database_url,
        "METRICS_INGEST_GROUP": f"ingest-{secrets.token_hex(4)}",
        "METRICS_PUBLISH_INTERVAL_MS": "50",
    }


async def program(environment: Mapping[str, str], *arguments: str) -> Ended:
    """Run a Python module to its end."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(running.communicate(), DEADLINE_S)
    assert running.returncode is not None
    return Ended(running.returncode, out.decode())


@asynccontextmanager
async def ingest(environment: Mapping[str, str]) -> AsyncIterator[None]:
    """Run the ingest process, and stop it at the end."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.metrics", "ingest", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
        assert running.returncode is None, "ingest ended by itself"
    finally:
        if running.returncode is None:
            running.terminate()
        await asyncio.wait_for(running.wait(), DEADLINE_S)


async def send(bus: KafkaBus, messages: Sequence[Message]) -> None:
    """Append and wait for every acknowledgement."""
    producer = bus.producer()
    await producer.start()
    try:
        answers = await producer.send_all(messages)
        assert not [each for each in answers if isinstance(each, Exception)]
    finally:
        await producer.stop()


async def until_covered(connection: asyncpg.Connection, messages: int) -> None:
    """Return when the published offsets cover so many facts."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await connection.fetchval("SELECT to_regclass('metrics.partition_leases') IS NOT NULL"):
                found = await connection.fetch("SELECT published_offsets FROM metrics.partition_leases")
                if sum(sum(json.loads(row[0]).values()) for row in found) == messages:
                    return
            await asyncio.sleep(0.05)


async def test_audit_of_a_real_run(kafka_bootstrap_servers: str, database_url: str) -> None:
    """Nothing published: 2. After ingest: every number equal, 0. With one stored sum changed: 1, and it is
    named, by the module as by `trimtab audit`. An unknown experiment: 2."""
    key, clock = f"audit-{secrets.token_hex(4)}", SystemClock()
    environment = surroundings(kafka_bootstrap_servers, database_url)
    bus = KafkaBus(kafka_bootstrap_servers, client_id="test", clock=clock)
    await bus.admin().ensure_topics(TOPICS)
    sent = facts(key, clock.now_ms())
    await send(bus, [Message("experiments", key, definition(key, clock.now_ms()).to_json()), *sent])
    early = await program(environment, "services.metrics.audit", key)
    assert (early.code, "start python -m services.metrics ingest" in early.out) == (2, True), early.out
    connection = await asyncpg.connect(database_url)
    try:
        async with ingest(environment):
            await until_covered(connection, len(sent))
        equal = await program(environment, "services.metrics.audit", key, "--json")
        told = json.loads(equal.out)
        assert (equal.code, told["differences"]) == (0, [])
        assert told["numbers"] > 400
        assert told["left_out"] == {"conversions": 1}
        assert sum(told["offsets"].values()) == len(sent)
        await connection.execute(
            "UPDATE metrics.partition_metrics SET total_squares = total_squares + 1 WHERE experiment_id = $1"
            " AND partition = 2 AND metric = 'revenue' AND variant = 'bad'",
            key,
        )
        differs = await program(environment, "deploy.command", "audit", key)
        assert differs.code == 1, differs.out
        assert "partition 2 / metric / revenue / variant / bad / total_squares" in differs.out
        assert "DIFFERENT: 1 of" in differs.out
        unknown = await program(environment, "deploy.command", "audit", "nobody-knows", "--json")
        assert unknown.code == 2
        assert "no experiment 'nobody-knows'" in json.loads(unknown.out)["problem"]
    finally:
        await connection.close()
