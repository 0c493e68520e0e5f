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
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaPartition

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message, Position, TopicPartition
from libs.common.clock import ManualClock, SystemClock
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.facts import Conversion, Exposure
from schemas.results import Result
from services.metrics.bootstrap.ground import TOPICS

DEADLINE_S = 60
UNITS = 400
OLDER_UNITS = 20
DAY_MS = 24 * 60 * 60 * 1_000


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
async def process(environment: Mapping[str, str], name: str) -> AsyncIterator[None]:
    """Run ingest or the judge, and stop it at the end."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.metrics", name, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
        assert running.returncode is None, f"{name} ended by itself"
    finally:
        if running.returncode is None:
            running.terminate()
        await asyncio.wait_for(running.wait(), DEADLINE_S)


async def send(bus: KafkaBus, messages: Sequence[Message]) -> list[Position]:
    """Append, wait for every acknowledgement, and return where the messages lie."""
    producer = bus.producer()
    await producer.start()
    try:
        answers = await producer.send_all(messages)
    finally:
        await producer.stop()
    found = [each for each in answers if isinstance(each, Position)]
    assert len(found) == len(messages)
    return found


async def send_older(servers: str, at_ms: int) -> dict[TopicPartition, int]:
    """Append what units did in another experiment at this time, written then, in every partition. Returns
    where that begins."""
    bus = KafkaBus(servers, client_id="test", clock=ManualClock(at_ms))
    found: dict[TopicPartition, int] = {}
    for number in range(OLDER_UNITS):
        unit, when = f"older-{number}", {"event_id": f"e-{at_ms}", "occurred_at_ms": at_ms}
        met = Exposure(unit_id=unit, experiment_id="older", variant="a", **when)
        did = Conversion(unit_id=unit, name="visit", value=1.0, **when)
        for topic, event in (("exposures", met), ("conversions", did)):
            (place,) = await send(bus, [Message(topic, unit, event.to_json())])
            found.setdefault(TopicPartition(place.topic, place.partition), place.offset)
    assert len(found) == 8
    return found


async def forget(servers: str, before: Mapping[TopicPartition, int]) -> None:
    """Drop the records of partitions before these offsets, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_records(
            {KafkaPartition(*each): RecordsToDelete(before_offset=offset) for each, offset in before.items()}
        )
    finally:
        await admin.close()


async def until_covered(connection: asyncpg.Connection, messages: int) -> None:
    """Return when the published offsets cover so many facts."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await connection.fetchval("SELECT to_regclass('metrics.partition_leases') IS NOT NULL"):
                found = await connection.fetch("SELECT published_offsets FROM metrics.partition_leases")
                if sum(sum(json.loads(row[0]).values()) for row in found) == messages:
                    return
            await asyncio.sleep(0.05)


async def until_judged(bus: KafkaBus, key: str, facts: int) -> Result:
    """Return the first result that covers so many facts."""
    reader = bus.reader(["results"])
    await reader.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for batch in (await reader.fetch(timeout_ms=500, max_records=100)).values():
                    for record in batch:
                        found = Result.model_validate_json(record.value or b"")
                        if found.experiment_id == key and sum(found.offsets.values()) == facts:
                            return found
    finally:
        await reader.stop()


async def test_audit_of_a_real_run(kafka_bootstrap_servers: str, database_url: str) -> None:
    """Nothing published: 2. After ingest and judge: every number of rows and result equal, 0, also when
    retention has taken what was before. With a number of the result or a stored sum changed: 1, and it is
    named, by the module as by `trimtab audit`. An unknown experiment: 2."""
    key, clock = f"audit-{secrets.token_hex(4)}", SystemClock()
    environment = surroundings(kafka_bootstrap_servers, database_url)
    bus = KafkaBus(kafka_bootstrap_servers, client_id="test", clock=clock)
    await bus.admin().ensure_topics(TOPICS)
    cuts = [await send_older(kafka_bootstrap_servers, clock.now_ms() - days * DAY_MS) for days in (10, 5)]
    sent = facts(key, clock.now_ms())
    await send(bus, [Message("experiments", key, definition(key, clock.now_ms()).to_json()), *sent])
    covered = len(sent) + 2 * 2 * OLDER_UNITS
    early = await program(environment, "services.metrics.audit", key)
    assert (early.code, "start python -m services.metrics ingest" in early.out) == (2, True), early.out
    connection = await asyncpg.connect(database_url)
    try:
        async with process(environment, "ingest"), process(environment, "judge"):
            await until_covered(connection, covered)
            judged = await until_judged(bus, key, covered)
        assert judged.hours
        assert len(judged.segments) == 5 * 4 * 2
        equal = await program(environment, "services.metrics.audit", key, "--json")
        told = json.loads(equal.out)
        assert (equal.code, told["differences"]) == (0, [])
        assert told["numbers"] > 400
        assert told["left_out"] == {"conversions": 1}
        read = told["read"]
        assert sum(told["offsets"].values()) == covered
        assert told["result"]["compared"] is True
        assert told["result"]["offsets"] == judged.offsets
        await forget(kafka_bootstrap_servers, cuts[1])
        equal = await program(environment, "services.metrics.audit", key, "--json")
        told = json.loads(equal.out)
        assert (equal.code, told["differences"], len(told["log_begins_ms"])) == (0, [], 8)
        assert told["read"] == {topic: n - OLDER_UNITS for topic, n in read.items()}
        await send(bus, [Message("results", key, one_more(judged).to_json())])
        differs = await program(environment, "services.metrics.audit", key)
        assert differs.code == 1, differs.out
        assert "DIFFERENT: 2 of" in differs.out
        assert f"result / hour / {judged.hours[-1].hour_ms} / variant / " in differs.out
        assert "result / segment / land / value / de / metric / bought / variant / good / mean" in differs.out
        await send(bus, [Message("results", key, judged.to_json())])
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


def one_more(judged: Result) -> Result:
    """Return the result with one wrong number in its last hour, and one in its first segment."""
    hour, segment = judged.hours[-1], judged.segments[0]
    assert (segment.value, segment.variant, segment.metric) == ("de", "good", "bought")
    wrong_hour = hour.model_copy(update={"exposures": hour.exposures + 1})
    wrong_segment = segment.model_copy(update={"mean": 2.0})
    return judged.model_copy(
        update={
            "hours": (*judged.hours[:-1], wrong_hour),
            "segments": (wrong_segment, *judged.segments[1:]),
        }
    )
