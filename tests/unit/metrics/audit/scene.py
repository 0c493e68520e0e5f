"""A log on the bus in memory, and what the real partition state of ingest publishes of it."""

from collections.abc import Mapping, Sequence

from libs.common.bus.batches import Batch
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message, TopicPartition
from libs.common.clock import ManualClock
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.facts import Conversion, Exposure
from schemas.results import Result, Summary, VariantCount
from services.metrics.audit.check import Audit, audit
from services.metrics.audit.numbers import (
    Number,
    Place,
    Segment,
    of_bin,
    of_hour,
    of_last_exposed,
    of_metric,
    of_variant,
)
from services.metrics.audit.published import Published
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.partition import MetricsPartition, MetricsPartitions
from services.metrics.domain.rows import ExperimentRow

HOUR_MS = 3_600_000
T0 = 1_700_000_400_000 // HOUR_MS * HOUR_MS
METRICS = ("bought", "revenue", "orders", "basket", "typical")
UNIT_TOPICS = ("exposures", "conversions")


def definition(revision: int = 1) -> Experiment:
    """Return a running experiment with metrics of all kinds, bounds, a covariate and a breakdown."""
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
            Metric(name="orders", conversion="purchase", kind=MetricKind.COUNT),
            Metric(name="basket", conversion="purchase", kind=MetricKind.RATIO, denominator="visit"),
            Metric(name="typical", conversion="purchase", kind=MetricKind.QUANTILE, quantile=0.9),
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


def ended(at_ms: int) -> Experiment:
    """Return the same experiment, stopped."""
    changes = {"revision": 2, "state": ExperimentState.STOPPED, "ended_at_ms": at_ms}
    return definition().model_copy(update=changes)


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
                    name="visit" if step == 2 else "purchase",
                    value=number + 0.1,
                )
            )
    return [*found, *found[::7]]


class Scene:
    """A bus in memory, and what was published of it."""

    def __init__(self, now_ms: int = T0 + 3 * HOUR_MS) -> None:
        self.clock = ManualClock(now_ms)
        self.bus = MemoryBus(self.clock)
        self.published = Published()
        self.definitions = Definitions()
        self.makes = MetricsPartitions(self.definitions)
        self.states: dict[int, MetricsPartition] = {}

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
        """Publish what the partition state of ingest, which begins anew, makes of the whole log."""
        self.definitions.keep(definition())
        self.states.clear()
        self.published.offsets.clear()
        self.go_on()

    def go_on(self) -> None:
        """Let ingest read what has come since it read last, and publish."""
        for partition in range(4):
            state = self.states.setdefault(partition, self.makes(partition, None))
            for topic in UNIT_TOPICS:
                place = TopicPartition(topic, partition)
                records = [each for each in self.bus.records(topic) if each.partition == partition]
                fresh = [each for each in records if each.offset >= self.published.offsets.get(place, 0)]
                self.published.offsets[place] = records[-1].offset + 1 if records else 0
                if fresh:
                    state.fold(topic, Batch.of(fresh))
            for row in state.rows():
                if row.experiment_id == "x":
                    numbers = self.published.numbers.setdefault(partition, {})
                    # A row has all of its sketches, and of the hours and segments those that changed.
                    for bin_place in [each for each in numbers if "bin" in each]:
                        del numbers[bin_place]
                    numbers.update(numbers_of_row(row))

    async def read(self, experiment_id: str) -> Published:
        """Return what was published."""
        assert experiment_id
        return self.published

    async def audit(self) -> Audit:
        """Audit the experiment."""
        return await audit("x", self.bus, self.read)


def numbers_of_row(row: ExperimentRow) -> dict[Place, Number]:
    """Return a row of ingest as the audit reads it from the tables."""
    found: dict[Place, Number] = {
        ("experiment", "multi_variant_units"): row.multi_variant_units,
        ("experiment", "latest_ms"): row.latest_ms,
    }
    for each in row.variants:
        counts = ("units", "exposures", "conversions", "late_units")
        found |= named(of_variant, [each.variant], each, counts)
        found[of_last_exposed(each.variant)] = each.last_exposed_ms
    for each in row.hours:
        found |= named(of_hour, [each.hour_ms, each.variant], each, ("units", "exposures", "conversions"))
    for each in row.metrics:
        sums = ("units", "converted_units", "total", "total_squares", "covariate_total", "covariate_squares")
        found |= named(of_metric, [each.metric, each.variant], each.sums, sums)
        found[of_metric(each.metric, each.variant, "cross_total")] = each.sums.cross
        found |= {of_bin(each.metric, each.variant, key): units for key, units in each.sketch.items()}
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
        summaries=tuple(summary(metric, variant) for metric in METRICS for variant in "ab"),
        comparisons=(),
        sample_ratio=None,
        offsets={str(each): offset for each, offset in scene.published.offsets.items()},
    )
    return whole.model_copy(update=changes)
