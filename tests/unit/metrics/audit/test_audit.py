"""The audit on the bus in memory, against what the real partition state of ingest publishes."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message, TopicPartition
from libs.common.clock import ManualClock
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.facts import Conversion, Exposure
from schemas.results import Result, Summary, VariantCount
from services.metrics.audit.check import Audit, audit
from services.metrics.audit.errors import CannotAudit
from services.metrics.audit.numbers import Number, Place, Segment, of_hour, of_metric, of_variant
from services.metrics.audit.published import Published
from services.metrics.audit.report import as_json, as_text, exit_code, problem_as_json, problem_as_text
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.partition import MetricsPartitions
from services.metrics.domain.rows import ExperimentRow

HOUR_MS = 3_600_000
T0 = 1_700_000_400_000 // HOUR_MS * HOUR_MS
UNIT_TOPICS = ("exposures", "conversions")


def definition(revision: int = 1) -> Experiment:
    """Return a running experiment with bounds, a covariate and a breakdown."""
    return Experiment(
        experiment_id="x",
        variants=(Variant(key="a"), Variant(key="b")),
        control="a",
        metrics=(
            Metric(name="bought", conversion="purchase", covariate_window_ms=1_000),
            Metric(
                name="revenue",
                conversion="purchase",
                kind=MetricKind.MEAN,
                lower_bound=1.0,
                upper_bound=20.5,
                covariate_window_ms=1_000,
            ),
        ),
        breakdowns=(Breakdown(attribute="land", values=("de", "1.5")),),
        state=ExperimentState.RUNNING,
        revision=revision,
        stage_started_at_ms=T0,
        created_at_ms=T0,
        updated_at_ms=T0,
        changed_by="test",
        reason="test",
    )


def events() -> list[Exposure | Conversion]:
    """Return what 30 units did: some in both variants, some before, some twice, over two hours."""
    found: list[Exposure | Conversion] = []
    for number in range(30):
        unit, at_ms = f"u{number}", T0 + number * 240_000
        land: dict[str, str | bool | float] = [{"land": "de"}, {"land": 1.5}, {"land": True}, {}][number % 4]
        variants = "ab" if number % 10 == 0 else "ab"[number % 2]
        for variant in variants:
            found.append(
                Exposure(
                    event_id=f"e{variant}",
                    occurred_at_ms=at_ms,
                    unit_id=unit,
                    experiment_id="x",
                    variant=variant,
                    attributes=land,
                )
            )
        for step in range(number % 4):
            found.append(
                Conversion(
                    event_id=f"c{step}",
                    occurred_at_ms=at_ms + 500 * (step - 1),
                    unit_id=unit,
                    name="purchase",
                    value=number + 0.1,
                )
            )
    return [*found, *found[::7]]


class Scene:
    """A bus in memory, and what was published of it."""

    def __init__(self) -> None:
        self.bus = MemoryBus(ManualClock(T0 + 3 * HOUR_MS))
        self.published = Published()

    async def send(self, *messages: Message) -> None:
        """Append to the log."""
        producer = self.bus.producer()
        await producer.start()
        answers = await producer.send_all(messages)
        await producer.stop()
        assert not [each for each in answers if isinstance(each, Exception)]

    async def send_events(self) -> None:
        """Append the events and one poison record."""
        topics = {Exposure: "exposures", Conversion: "conversions"}
        await self.send(*(Message(topics[type(each)], each.unit_id, each.to_json()) for each in events()))
        await self.send(Message("conversions", "u1", b"{"))

    def ingest(self) -> None:
        """Publish what the partition state of ingest makes of the whole log."""
        definitions = Definitions()
        definitions.keep(definition())
        factory = MetricsPartitions(definitions)
        for partition in range(4):
            state = factory(partition, None)
            for topic in UNIT_TOPICS:
                records = [each for each in self.bus.records(topic) if each.partition == partition]
                self.published.offsets[TopicPartition(topic, partition)] = len(records)
                if records:
                    state.fold(topic, Batch.of(records))
            for row in state.rows():
                self.published.numbers[partition] = numbers_of_row(row)

    async def read(self, experiment_id: str) -> Published:
        """Return what was published."""
        assert experiment_id
        return self.published

    async def audit(self) -> Audit:
        """Audit the experiment."""
        return await audit("x", self.bus, self.read)


@pytest.fixture
async def scene() -> Scene:
    """Return a log whose definition and events ingest has published."""
    scene = Scene()
    await scene.send(Message("experiments", "x", definition().to_json()))
    await scene.send_events()
    scene.ingest()
    return scene


def numbers_of_row(row: ExperimentRow) -> dict[Place, Number]:
    """Return a row of ingest as the audit reads it from the tables."""
    found: dict[Place, Number] = {
        ("experiment", "multi_variant_units"): row.multi_variant_units,
        ("experiment", "latest_ms"): row.latest_ms,
    }
    for each in row.variants:
        found |= named(of_variant, [each.variant], each, ("units", "exposures", "conversions"))
    for each in row.hours:
        found |= named(of_hour, [each.hour_ms, each.variant], each, ("units", "exposures", "conversions"))
    for each in row.metrics:
        sums = ("units", "converted_units", "total", "total_squares", "covariate_total", "covariate_squares")
        found |= named(of_metric, [each.metric, each.variant], each.sums, sums)
        found[of_metric(each.metric, each.variant, "cross_total")] = each.sums.cross
    for each in row.segments:
        segment = Segment(each.attribute, each.kind, each.value)
        sums = ("units", "converted_units", "total", "total_squares")
        found |= named(segment.of_metric, [each.metric, each.variant], each.sums, sums)
    return found


def named(place, where: Sequence[object], source: object, names: Sequence[str]) -> Mapping[Place, int]:  # type: ignore[no-untyped-def]
    """Return attributes of a row at their places."""
    return {place(*where, name): getattr(source, name) for name in names}


def result(scene: Scene, **changes: object) -> Result:
    """Return the result that a judge publishes of these rows."""
    sums: dict[Place, int] = {}
    for numbers in scene.published.numbers.values():
        for place, number in numbers.items():
            sums[place] = sums.get(place, 0) + int(str(number))
    latest_ms = max(int(str(each["experiment", "latest_ms"])) for each in scene.published.numbers.values())

    def summary(metric: str, variant: str) -> Summary:
        units, converted, total, squares = (
            sums[of_metric(metric, variant, name)]
            for name in ("units", "converted_units", "total", "total_squares")
        )
        return Summary(
            variant=variant,
            metric=metric,
            units=units,
            converted_units=converted,
            mean=total / (units * 10**6),
            variance=(units * squares - total * total) / (units * (units - 1) * 10**12),
        )

    whole = Result(
        experiment_id="x",
        revision=1,
        computed_at_ms=T0,
        as_of_ms=latest_ms,
        counts=tuple(
            VariantCount(
                variant=each,
                units=sums[of_variant(each, "units")],
                exposures=sums[of_variant(each, "exposures")],
                conversions=sums[of_variant(each, "conversions")],
            )
            for each in "ab"
        ),
        multi_variant_units=sums["experiment", "multi_variant_units"],
        summaries=tuple(summary(metric, variant) for metric in ("bought", "revenue") for variant in "ab"),
        comparisons=(),
        sample_ratio=None,
        offsets={str(each): offset for each, offset in scene.published.offsets.items()},
    )
    return whole.model_copy(update=changes)


async def test_what_ingest_publishes_is_equal(scene: Scene) -> None:
    """Rows and result of the real code agree with the recount in every number: exit code 0, poison told."""
    await scene.send(Message("results", "x", result(scene).to_json()))
    found = await scene.audit()
    assert found.compared.differences == ()
    assert found.compared.numbers > 200
    assert found.result.compared.numbers > 20
    assert exit_code(found) == 0
    assert "equal to the last digit" in as_text(found)
    assert "(1 poison, skipped)" in as_text(found)
    told = json.loads(as_json(found))
    assert told["equal"] is True
    assert told["offsets"]["exposures-0"] == scene.published.offsets[TopicPartition("exposures", 0)]


async def test_every_number_that_differs_is_named(scene: Scene) -> None:
    """A published number of any kind is off by one: that one difference is reported, exit code 1."""
    kinds = {place: part for part, numbers in scene.published.numbers.items() for place in numbers}
    for place in {(each[0], each[-1]): each for each in kinds}.values():
        partition = kinds[place]
        number = scene.published.numbers[partition][place]
        scene.published.numbers[partition][place] = int(str(number)) + 1
        found = await scene.audit()
        assert [each.where for each in found.compared.differences] == [(f"partition {partition}", *place)]
        assert exit_code(found) == 1
        assert "DIFFERENT: 1 of" in as_text(found)
        assert json.loads(as_json(found))["differences"][0]["where"][-1] == place[-1]
        scene.published.numbers[partition][place] = number


async def test_rows_that_are_missing_or_too_many_differ(scene: Scene) -> None:
    """A partition without rows and a row of a variant that nobody met are differences; zeros are not."""
    gone = scene.published.numbers.pop(0)
    scene.published.numbers[1][of_variant("nobody", "units")] = 0
    scene.published.numbers[1][of_variant("stranger", "units")] = Decimal("0.5")
    found = await scene.audit()
    places = {each.where for each in found.compared.differences}
    assert places == {("partition 0", *place) for place, number in gone.items() if number} | {
        ("partition 1", "variant", "stranger", "units")
    }
    assert "more: --json has them all" in as_text(found)
    assert '"published": "0.5"' in as_json(found)


async def test_rows_of_a_metric_that_is_no_longer_defined_are_ignored(scene: Scene) -> None:
    """Old rows of a metric that the definition does not name are no difference."""
    scene.published.numbers[0][of_metric("old", "a", "total")] = 7
    scene.published.numbers[0][Segment("land", "value", "de").of_metric("old", "a", "total")] = 7
    assert (await scene.audit()).equal


async def test_a_wrong_result_differs_at_its_own_offsets(scene: Scene) -> None:
    """The result is compared with the log up to its offsets, not the rows': a later event changes nothing."""
    right = result(scene)
    later = Exposure(event_id="late", occurred_at_ms=T0, unit_id="u99", experiment_id="x", variant="a")
    await scene.send(Message("exposures", "u99", later.to_json()))
    scene.published.numbers.clear()
    scene.ingest()
    await scene.send(Message("results", "x", right.to_json()))
    assert (await scene.audit()).equal
    wrong = right.model_copy(
        update={"summaries": (right.summaries[0].model_copy(update={"mean": None}), *right.summaries[1:])}
    )
    await scene.send(Message("results", "x", wrong.to_json()))
    found = await scene.audit()
    assert [each.where for each in found.compared.differences] == [
        ("result", "metric", "bought", "variant", "a", "mean")
    ]
    assert "none" in as_text(found)


async def test_a_result_of_another_revision_is_not_compared(scene: Scene) -> None:
    """Its definition is gone, so it says so instead of comparing with a wrong one."""
    await scene.send(Message("results", "x", result(scene, revision=7, multi_variant_units=99).to_json()))
    found = await scene.audit()
    assert found.equal
    assert "not compared: the latest is of revision 7" in as_text(found)


async def test_retention_that_took_the_beginning_is_said_by_partition(scene: Scene) -> None:
    """A log that begins after offset 0 cannot be recounted: the partition and its first offset are named."""
    scene.bus.forget(TopicPartition("conversions", 2), before=1)
    with pytest.raises(CannotAudit, match="conversions-2 begins at offset 1") as caught:
        await scene.audit()
    assert "retention.ms" in problem_as_text(caught.value)


async def test_a_log_that_is_too_short_is_said(scene: Scene) -> None:
    """Published offsets beyond the end of the log mean another log: refused, not compared."""
    scene.published.offsets[TopicPartition("exposures", 3)] += 5
    with pytest.raises(CannotAudit, match="exposures-3 ends at"):
        await scene.audit()


async def test_what_cannot_be_audited_says_what_to_do(scene: Scene) -> None:
    """An unknown experiment, nothing published, and nobody exposed: each is named, with the next step."""
    with pytest.raises(CannotAudit, match="no experiment 'y'") as caught:
        await audit("y", scene.bus, scene.read)
    assert json.loads(problem_as_json(caught.value))["next_step"]
    scene.published = Published(definition())
    with pytest.raises(CannotAudit, match="published nothing yet"):
        await scene.audit()
    quiet = Scene()
    await quiet.send(Message("experiments", "x", definition().to_json()), Message("conversions", "u", b"{"))
    quiet.ingest()
    with pytest.raises(CannotAudit, match="no unit had met x"):
        await quiet.audit()
