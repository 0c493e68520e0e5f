"""Ingest and judge on Apache Kafka and PostgreSQL: facts in; a result, a verdict and an alert out."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message
from libs.common.clock import SystemClock
from libs.common.lifecycle import Stop
from libs.common.settings import load
from schemas.decode import decode
from schemas.experiments import Experiment, ExperimentState, Metric, MetricKind, Variant, Verdict, VerdictKind
from schemas.facts import Conversion, Exposure
from schemas.health import Alert, AlertState
from schemas.results import Result
from services.metrics.bootstrap.ground import TOPICS
from services.metrics.bootstrap.ingest import run_ingest
from services.metrics.bootstrap.judge import run_judge
from services.metrics.config import MetricsSettings
from tests.world.metrics_reference import Reference, reference

OUT = ("results", "verdicts", "alerts")
DEADLINE_S = 60


@dataclass
class Heard:
    """What the judge has published about one experiment."""

    results: list[Result] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)


@dataclass
class Place:
    """A running metrics service, a bus to speak to it, and an ear."""

    bus: KafkaBus
    settings: MetricsSettings
    heard: dict[str, Heard]

    async def send(self, messages: Sequence[Message]) -> None:
        """Append and wait for every acknowledgement."""
        producer = self.bus.producer()
        await producer.start()
        try:
            for start in range(0, len(messages), 2_000):
                answers = await producer.send_all(messages[start : start + 2_000])
                assert not [each for each in answers if isinstance(each, Exception)]
        finally:
            await producer.stop()

    def about(self, key: str) -> Heard:
        """Return what was heard about an experiment."""
        return self.heard.setdefault(key, Heard())


Start = Callable[[MetricsSettings, Stop], Awaitable[None]]


@asynccontextmanager
async def process(start: Start, settings: MetricsSettings) -> AsyncIterator[None]:
    """Run one process of metrics, and drain it at the end."""
    stop = Stop()
    task = asyncio.ensure_future(start(settings, stop))
    try:
        yield
    finally:
        stop.set("the test is over")
        async with asyncio.timeout(DEADLINE_S):
            await task


@pytest.fixture
async def place(
    kafka_bootstrap_servers: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    """Return the service's surroundings; groups and experiments have names of their own."""
    mark = secrets.token_hex(4)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap_servers)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("METRICS_INGEST_GROUP", f"metrics-ingest-{mark}")
    monkeypatch.setenv("METRICS_JUDGE_GROUP", f"metrics-judge-{mark}")
    monkeypatch.setenv("METRICS_SESSION_TIMEOUT_MS", "6000")
    bus = KafkaBus(kafka_bootstrap_servers, client_id="test", clock=SystemClock())
    await bus.admin().ensure_topics(TOPICS)
    here = Place(bus, load(MetricsSettings), {})
    listening = asyncio.ensure_future(listen(here))
    yield here
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def listen(place: Place) -> None:
    """Gather what comes out, by experiment."""
    reader = place.bus.reader(OUT)
    await reader.start()
    try:
        while True:
            for records in (await reader.fetch(timeout_ms=200, max_records=500)).values():
                for record in records:
                    event = decode(record.topic, record.value, SystemClock().now_ms())
                    if isinstance(event, Result):
                        place.about(event.experiment_id).results.append(event)
                    elif isinstance(event, Verdict):
                        place.about(event.experiment_id).verdicts.append(event)
                    elif isinstance(event, Alert):
                        place.about(event.subject).alerts.append(event)
    finally:
        await reader.stop()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds; fail with `what` after the deadline."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {DEADLINE_S} s: {what}")


def experiment(key: str, now_ms: int, *, revision: int = 1, **changes: object) -> Experiment:
    """Return a running experiment with a proportion and a mean."""
    base = Experiment(
        experiment_id=key,
        variants=(Variant(key="good"), Variant(key="bad")),
        control="good",
        metrics=(
            Metric(name="bought", conversion=f"purchase-{key}"),
            Metric(name="revenue", conversion=f"purchase-{key}", kind=MetricKind.MEAN),
        ),
        state=ExperimentState.RUNNING,
        revision=revision,
        stage_started_at_ms=now_ms,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        changed_by="test",
        reason="test",
    )
    return base.model_copy(update=changes)


def traffic(key: str, now_ms: int, units: int) -> list[Exposure | Conversion]:
    """Return events in a random order, one in twenty twice: the bad variant sells half as often."""
    chance = random.Random(11)
    events: list[Exposure | Conversion] = []
    for number in range(units):
        unit, variant = f"{key}-unit-{number}", chance.choice(["good", "bad"])
        at_ms = now_ms + number
        events.append(
            Exposure(
                event_id=f"e-{number}", occurred_at_ms=at_ms, unit_id=unit, experiment_id=key, variant=variant
            )
        )
        if chance.random() < (0.4 if variant == "good" else 0.2):
            events.append(
                Conversion(
                    event_id=f"c-{number}",
                    occurred_at_ms=at_ms + 5,
                    unit_id=unit,
                    name=f"purchase-{key}",
                    value=round(chance.random() * 100, 2),
                )
            )
    events += chance.choices(events, k=len(events) // 20)
    chance.shuffle(events)
    return events


def messages(events: Sequence[Exposure | Conversion]) -> list[Message]:
    """Return the events on their topics."""
    return [
        Message("exposures" if isinstance(e, Exposure) else "conversions", e.unit_id, e.to_json())
        for e in events
    ]


def truth(subject: Experiment, events: Sequence[Exposure | Conversion]) -> Reference:
    """Return what the reference finds."""
    return reference(
        subject,
        [e for e in events if isinstance(e, Exposure)],
        [e for e in events if isinstance(e, Conversion)],
    )


def agrees(found: Result, expected: Reference) -> bool:
    """Return whether a result's counts are those of the reference."""
    counts = {each.variant: (each.units, each.exposures, each.conversions) for each in found.counts}
    return counts == {key: tuple(each) for key, each in expected.counts.items()}


async def stored_sums(database_url: str, key: str) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the exact sums over partitions as they stand in the database."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT variant, metric, sum(units)::text, sum(converted_units)::text, sum(total)::text,"
            " sum(total_squares)::text FROM metrics.partition_metrics WHERE experiment_id = $1 GROUP BY 1, 2",
            key,
        )
    finally:
        await connection.close()
    return {(row[0], row[1]): tuple(int(each) for each in tuple(row)[2:]) for row in rows}


async def test_a_harmful_variant_is_found_to_the_last_digit(place: Place, database_url: str) -> None:
    """Facts in any order and partly twice: the result's counts and the stored sums are the reference's, one
    roll_back verdict comes out with its evidence, and a critical alert that the rollback resolves."""
    key, now_ms = f"harm-{secrets.token_hex(4)}", SystemClock().now_ms() - 60_000
    subject, events = experiment(key, now_ms), traffic(key, now_ms, 4_000)
    expected = truth(subject, events)
    async with process(run_ingest, place.settings), process(run_judge, place.settings):
        await place.send([Message("experiments", key, subject.to_json())])
        await place.send(messages(events))
        heard = place.about(key)
        await until(lambda: any(agrees(each, expected) for each in heard.results), "the reference's counts")
        assert await stored_sums(database_url, key) == {
            each: tuple(v) for each, v in expected.metrics.items()
        }
        await until(
            lambda: any(each.kind is VerdictKind.ROLL_BACK for each in heard.verdicts), "a roll_back verdict"
        )
        ended = experiment(key, now_ms, revision=2, state=ExperimentState.ROLLED_BACK)
        await place.send([Message("experiments", key, ended.to_json())])
        await until(
            lambda: any(each.state is AlertState.RESOLVED for each in heard.alerts), "resolved alerts"
        )
    verdicts = [each for each in heard.verdicts if each.kind is VerdictKind.ROLL_BACK]
    assert len(verdicts) == 1
    assert verdicts[0].variant == "bad"
    assert verdicts[0].evidence[0].upper < 0
    assert {each.cause for each in heard.alerts} == {"guardrail"}
    latest = heard.results[-1]
    assert latest.revision == 2
    assert latest.as_of_ms == expected.latest_ms
    assert any(name.startswith("exposures-") for name in latest.offsets)


async def test_a_restart_of_both_goes_on_where_it_was(place: Place) -> None:
    """Both processes stop in the middle of the facts and start again: counts as if nothing had happened, and
    an experiment that the judge heard of before is still known."""
    key, now_ms = f"restart-{secrets.token_hex(4)}", SystemClock().now_ms() - 60_000
    subject, events = experiment(key, now_ms), traffic(key, now_ms, 1_000)
    heard, half = place.about(key), len(events) // 2
    async with process(run_ingest, place.settings), process(run_judge, place.settings):
        await place.send([Message("experiments", key, subject.to_json())])
        await place.send(messages(events[:half]))
        await until(lambda: bool(heard.results), "a first result")
    await place.send(messages(events[half:]))
    async with process(run_ingest, place.settings), process(run_judge, place.settings):
        expected = truth(subject, events)
        await until(lambda: any(agrees(each, expected) for each in heard.results), "the reference's counts")
    for earlier, later in zip(heard.results, heard.results[1:], strict=False):
        assert all(later.offsets[each] >= offset for each, offset in earlier.offsets.items())
