"""Reading what ingest has published: its own tables in PostgreSQL, all of one moment."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeAlias

from pydantic import ValidationError

from libs.common.bus.ports import TopicPartition
from libs.common.db.pool import Connection, Pool, outages
from schemas.experiments import Experiment
from services.metrics.audit.errors import CannotAudit
from services.metrics.audit.numbers import (
    LATEST_MS,
    MULTI_VARIANT_UNITS,
    Number,
    Numbers,
    Place,
    Segment,
    of_bin,
    of_hour,
    of_last_exposed,
    of_metric,
    of_variant,
)
from services.metrics.audit.tables import check_tables

SEGMENT_SUMS = ("units", "converted_units", "total", "total_squares")
METRIC_SUMS = (*SEGMENT_SUMS, "covariate_total", "covariate_squares", "cross_total")
COUNTS = ("units", "exposures", "conversions")
VARIANT_COUNTS = (*COUNTS, "late_units")

COLUMNS: Mapping[str, Iterable[str]] = {
    "partition_leases": ("partition", "published_offsets"),
    "partition_experiments": ("partition", "experiment_id", "multi_variant_units", "latest_ms"),
    "partition_variants": ("partition", "experiment_id", "variant", "last_exposed_ms", *VARIANT_COUNTS),
    "partition_metrics": ("partition", "experiment_id", "variant", "metric", "sketch", *METRIC_SUMS),
    "partition_hours": ("partition", "experiment_id", "variant", "hour_ms", *COUNTS),
    "partition_segments": (
        *("partition", "experiment_id", "variant", "attribute", "kind", "value", "metric"),
        *SEGMENT_SUMS,
    ),
    "experiments": ("experiment_id", "record"),
}
"""What is read."""

_LEASES = "SELECT partition, published_offsets FROM partition_leases"
_DEFINITION = "SELECT record FROM experiments WHERE experiment_id = $1"
_EXPERIMENTS = "SELECT * FROM partition_experiments WHERE experiment_id = $1"
_VARIANTS = "SELECT * FROM partition_variants WHERE experiment_id = $1"
_METRICS = "SELECT * FROM partition_metrics WHERE experiment_id = $1"
_HOURS = "SELECT * FROM partition_hours WHERE experiment_id = $1"
_SEGMENTS = "SELECT * FROM partition_segments WHERE experiment_id = $1"


@dataclass(slots=True)
class Published:
    """What ingest has published of one experiment, and what it covers."""

    definition: Experiment | None = None
    """As the judge knows it."""
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    numbers: dict[int, dict[Place, Number]] = field(default_factory=dict)
    """By partition. Empty when no row is about the experiment."""

    def of(self, partition: int, metrics: Iterable[str]) -> Numbers:
        """Return the numbers of one partition without those of metrics other than these: of a metric that
        was taken out of the definition old rows may stay."""
        wanted = frozenset(metrics)
        found = self.numbers.get(partition, {})
        return {place: number for place, number in found.items() if _metric(place) in wanted | {None}}


class ReadPublished(Protocol):
    """Where the audit gets what was published."""

    async def __call__(self, experiment_id: str) -> Published:
        """Return all of one moment. Raises CannotAudit when ingest has never run here, or what is there
        cannot be read (an older version's tables, a newer one's definition, no privilege); Retryable when
        the record does not answer."""


class PostgresPublished:
    """Reads the tables in the pool's schema, in one transaction that sees one moment and writes nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __call__(self, experiment_id: str) -> Published:
        """Return what stands there."""
        with outages("reading what ingest has published"):
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                await check_tables(connection, COLUMNS)
                return await _read(connection, experiment_id)


async def _read(connection: Connection, experiment_id: str) -> Published:
    published = Published(_definition(await connection.fetchval(_DEFINITION, experiment_id)))
    for row in await connection.fetch(_LEASES):
        for topic, offset in json.loads(row["published_offsets"]).items():
            published.offsets[TopicPartition(topic, row["partition"])] = offset
    for statement, places in (
        (_EXPERIMENTS, _of_experiment),
        (_VARIANTS, _of_variant),
        (_METRICS, _of_metric),
        (_HOURS, _of_hour),
        (_SEGMENTS, _of_segment),
    ):
        for row in await connection.fetch(statement, experiment_id):
            numbers = published.numbers.setdefault(row["partition"], {})
            numbers.update({place: _exact(row[column]) for place, column in places(dict(row))})
            numbers.update(_bins(dict(row)))
    return published


def _definition(record: str | None) -> Experiment | None:
    try:
        return None if record is None else Experiment.model_validate_json(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CannotAudit(
            "this version of the audit cannot read the definition in the judge's record: "
            f"{where}: {first['msg']}",
            next_step="audit with the version of Trimtab that the judge runs",
        ) from error


def _exact(value: int | Decimal) -> Number:
    """Return a whole number as int: `numeric` comes as Decimal, of any length."""
    return value if isinstance(value, Decimal) and value != value.to_integral_value() else int(value)


Row: TypeAlias = Mapping[str, object]
Columns: TypeAlias = Iterable[tuple[Place, str]]
"""At which place the number in a column belongs."""


def _of_experiment(row: Row) -> Columns:
    return ((MULTI_VARIANT_UNITS, "multi_variant_units"), (LATEST_MS, "latest_ms"))


def _of_variant(row: Row) -> Columns:
    variant = str(row["variant"])
    yield of_last_exposed(variant), "last_exposed_ms"
    for name in VARIANT_COUNTS:
        yield of_variant(variant, name), name


def _of_metric(row: Row) -> Columns:
    return ((of_metric(str(row["metric"]), str(row["variant"]), name), name) for name in METRIC_SUMS)


def _bins(row: Row) -> Numbers:
    """Return the bins of a quantile's sketch; no row of anything else has any."""
    sketch: Mapping[str, int] = json.loads(str(row.get("sketch", "{}")))
    return {of_bin(str(row["metric"]), str(row["variant"]), key): units for key, units in sketch.items()}


def _of_hour(row: Row) -> Columns:
    hour_ms = int(str(row["hour_ms"]))
    return ((of_hour(hour_ms, str(row["variant"]), name), name) for name in COUNTS)


def _of_segment(row: Row) -> Columns:
    segment = Segment(str(row["attribute"]), str(row["kind"]), str(row["value"]))
    metric, variant = str(row["metric"]), str(row["variant"])
    return ((segment.of_metric(metric, variant, name), name) for name in SEGMENT_SUMS)


def _metric(place: Place) -> str | None:
    """Return the metric that a number is of; None for a count."""
    if place[0] == "metric":
        return place[1]
    if place[0] == "segment":
        return place[5]
    return None
