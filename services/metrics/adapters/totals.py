"""Ingest's rows in PostgreSQL, read back by the judge: summed over partitions, within its transaction."""

import json
from collections.abc import Mapping, Sequence

import asyncpg

from libs.common.db.pool import Connection
from libs.statistics.sums import Sums
from schemas.experiments import Experiment, MetricKind
from schemas.results import MAX_HOURS
from services.metrics.adapters.values import from_column
from services.metrics.domain.rows import SegmentKind
from services.metrics.domain.series import shown_metrics
from services.metrics.domain.totals import ExperimentTotals, SegmentKey, VariantTotals

_VARIANTS = """
SELECT variant, sum(units)::bigint AS units, sum(exposures)::bigint AS exposures,
    sum(conversions)::bigint AS conversions, max(last_exposed_ms) AS last_exposed_ms,
    sum(late_units)::bigint AS late_units
FROM partition_variants WHERE experiment_id = $1 GROUP BY variant
"""
_METRICS = """
SELECT variant, metric, sum(units)::bigint AS units, sum(converted_units)::bigint AS converted_units,
    sum(total)::text AS total, sum(total_squares)::text AS total_squares,
    sum(covariate_total)::text AS covariate_total, sum(covariate_squares)::text AS covariate_squares,
    sum(cross_total)::text AS cross_total
FROM partition_metrics WHERE experiment_id = $1 GROUP BY variant, metric
"""
_SKETCHES = """
SELECT variant, metric, key::integer AS bin, sum(value::bigint)::bigint AS units
FROM partition_metrics, jsonb_each_text(sketch)
WHERE experiment_id = $1 AND metric = ANY($2::text[])
GROUP BY variant, metric, key
"""
# From hour to hour down the key's index, at most $2 steps: the older hours are never touched.
_HOURS = """
WITH RECURSIVE latest (hour_ms, place) AS (
    SELECT max(hour_ms), 1 FROM partition_hours
    WHERE experiment_id = $1 AND (units, exposures, conversions) <> (0, 0, 0)
    UNION ALL
    SELECT (
        SELECT max(each.hour_ms) FROM partition_hours each
        WHERE each.experiment_id = $1 AND each.hour_ms < latest.hour_ms
            AND (each.units, each.exposures, each.conversions) <> (0, 0, 0)
    ), place + 1
    FROM latest WHERE latest.hour_ms IS NOT NULL AND place < $2
)
SELECT hour_ms, variant, sum(units)::bigint AS units, sum(exposures)::bigint AS exposures,
    sum(conversions)::bigint AS conversions
FROM latest JOIN partition_hours USING (hour_ms)
WHERE experiment_id = $1
GROUP BY hour_ms, variant
"""
_SEGMENTS = """
SELECT attribute, kind, value, variant, metric, sum(units)::bigint AS units,
    sum(converted_units)::bigint AS converted_units, sum(total)::text AS total,
    sum(total_squares)::text AS total_squares
FROM partition_segments WHERE experiment_id = $1 AND metric = ANY($2::text[])
GROUP BY attribute, kind, value, variant, metric
"""
_OFFSETS = "SELECT partition, published_offsets FROM partition_leases"


async def read_totals(
    connection: Connection, experiment: Experiment, *, multi_variant_units: int, latest_ms: int
) -> ExperimentTotals:
    """Return an experiment's totals. The caller holds a transaction that sees one moment."""
    key = experiment.experiment_id
    variants = await connection.fetch(_VARIANTS, key)
    metrics = await connection.fetch(_METRICS, key)
    return ExperimentTotals(
        variants={row["variant"]: _met(row) for row in variants},
        sums={(row["variant"], row["metric"]): _sums(row) for row in metrics},
        multi_variant_units=multi_variant_units,
        latest_ms=latest_ms,
        offsets=await _offsets(connection),
        hours=_by_hour(await connection.fetch(_HOURS, key, MAX_HOURS)),
        segments=await _segments(connection, experiment),
        sketches=await _sketches(connection, experiment),
    )


def _variant(row: asyncpg.Record) -> VariantTotals:
    return VariantTotals(row["units"], row["exposures"], row["conversions"])


def _met(row: asyncpg.Record) -> VariantTotals:
    counts = row["units"], row["exposures"], row["conversions"]
    return VariantTotals(*counts, row["last_exposed_ms"], row["late_units"])


def _sums(row: asyncpg.Record) -> Sums:
    return Sums(
        row["units"],
        row["converted_units"],
        int(row["total"]),
        int(row["total_squares"]),
        int(row["covariate_total"]),
        int(row["covariate_squares"]),
        int(row["cross_total"]),
    )


def _by_hour(rows: Sequence[asyncpg.Record]) -> Mapping[int, Mapping[str, VariantTotals]]:
    hours: dict[int, dict[str, VariantTotals]] = {}
    for row in rows:
        hours.setdefault(row["hour_ms"], {})[row["variant"]] = _variant(row)
    return hours


async def _segments(connection: Connection, experiment: Experiment) -> Mapping[SegmentKey, Sums]:
    metrics = shown_metrics(experiment)
    if not metrics:
        return {}
    rows = await connection.fetch(_SEGMENTS, experiment.experiment_id, metrics)
    return {
        SegmentKey(
            row["attribute"],
            SegmentKind(row["kind"]),
            from_column(row["value"]),
            row["variant"],
            row["metric"],
        ): Sums(row["units"], row["converted_units"], int(row["total"]), int(row["total_squares"]))
        for row in rows
    }


async def _sketches(
    connection: Connection, experiment: Experiment
) -> Mapping[tuple[str, str], Mapping[int, int]]:
    metrics = [each.name for each in experiment.metrics if each.kind is MetricKind.QUANTILE]
    sketches: dict[tuple[str, str], dict[int, int]] = {}
    if metrics:
        for row in await connection.fetch(_SKETCHES, experiment.experiment_id, metrics):
            sketches.setdefault((row["variant"], row["metric"]), {})[row["bin"]] = row["units"]
    return sketches


async def _offsets(connection: Connection) -> dict[str, int]:
    rows = await connection.fetch(_OFFSETS)
    return {
        f"{topic}-{row['partition']}": offset
        for row in rows
        for topic, offset in sorted(json.loads(row["published_offsets"]).items())
    }
