"""Experiments, events and records to test with."""

from collections.abc import Sequence

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.partitions.ports import Rejected
from schemas.experiments import Experiment, ExperimentState, Metric, MetricKind, Policy, Variant
from schemas.facts import Conversion, Exposure
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.partition import MetricsPartition
from services.metrics.domain.rows import ExperimentRow
from tests.world.metrics_reference import Counts, Expected, Reference

Event = Exposure | Conversion

T0 = 1_700_000_000_000
WINDOW_MS = 1_000


def experiment(
    key: str = "x",
    *,
    revision: int = 1,
    state: ExperimentState = ExperimentState.RUNNING,
    metrics: Sequence[Metric] | None = None,
    policy: Policy | None = None,
    variants: Sequence[Variant] = (Variant(key="a"), Variant(key="b")),
    stage: int = 0,
    stage_started_at_ms: int = T0,
) -> Experiment:
    """Return an experiment with control `a`."""
    return Experiment(
        experiment_id=key,
        variants=tuple(variants),
        control="a",
        metrics=tuple(both_kinds() if metrics is None else metrics),
        policy=policy or Policy(),
        state=state,
        revision=revision,
        stage=stage,
        stage_started_at_ms=stage_started_at_ms,
        created_at_ms=T0,
        updated_at_ms=T0,
        changed_by="test",
        reason="test",
    )


def both_kinds() -> tuple[Metric, ...]:
    """Return a proportion and a mean, with different windows, on the same conversions."""
    return (
        Metric(name="bought", conversion="purchase", window_ms=WINDOW_MS),
        Metric(name="revenue", conversion="purchase", kind=MetricKind.MEAN, window_ms=2 * WINDOW_MS),
        Metric(name="visits", conversion="visit", kind=MetricKind.MEAN, window_ms=WINDOW_MS),
    )


def exposure(
    unit: str, variant: str, at_ms: int, event_id: str | None = None, experiment_id: str = "x"
) -> Exposure:
    """Return an exposure `at_ms` after the start of time."""
    return Exposure(
        event_id=event_id or f"e-{experiment_id}-{unit}-{variant}-{at_ms}",
        occurred_at_ms=T0 + at_ms,
        unit_id=unit,
        experiment_id=experiment_id,
        variant=variant,
    )


def conversion(
    unit: str, at_ms: int, value: float = 1.0, name: str = "purchase", event_id: str | None = None
) -> Conversion:
    """Return a conversion `at_ms` after the start of time."""
    return Conversion(
        event_id=event_id or f"c-{unit}-{name}-{at_ms}-{value}",
        occurred_at_ms=T0 + at_ms,
        unit_id=unit,
        name=name,
        value=value,
    )


def topic_of(event: Event) -> str:
    """Return where an event belongs."""
    return "exposures" if isinstance(event, Exposure) else "conversions"


def record(topic: str, value: bytes | None, offset: int = 0, timestamp_ms: int = T0) -> Record:
    """Return a record as it is read."""
    return Record(topic, 0, offset, timestamp_ms, None, value)


def batch_of(events: Sequence[Event]) -> Batch:
    """Return events of one topic as they are read."""
    return Batch.of([record(topic_of(each), each.to_json()) for each in events])


def as_reference(rows: Sequence[ExperimentRow], key: str = "x") -> Reference:
    """Return the row of one experiment in the reference's terms; of nothing when there is none."""
    for row in rows:
        if row.experiment_id == key:
            return Reference(
                {v.variant: Counts(v.units, v.exposures, v.conversions) for v in row.variants},
                {
                    (m.variant, m.metric): Expected(
                        m.sums.units, m.sums.converted_units, m.sums.total, m.sums.total_squares
                    )
                    for m in row.metrics
                },
                row.multi_variant_units,
                row.latest_ms,
            )
    return Reference({}, {}, 0, 0)


def known(*keys: str) -> Definitions:
    """Return definitions of these experiments."""
    definitions = Definitions()
    for key in keys:
        definitions.keep(experiment(key))
    return definitions


def fold(state: MetricsPartition, events: Sequence[Event], batch: int = 1) -> list[Rejected]:
    """Fold events, in runs of the same topic of at most `batch`."""
    rejected = []
    run: list[Event] = []
    for event in events:
        if run and (len(run) >= batch or topic_of(event) != topic_of(run[0])):
            rejected += state.fold(topic_of(run[0]), batch_of(run))
            run = []
        run.append(event)
    if run:
        rejected += state.fold(topic_of(run[0]), batch_of(run))
    return rejected
