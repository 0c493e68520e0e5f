"""Ingest's rows in PostgreSQL: written within the line's transaction."""

import json

from libs.common.db.pool import Connection
from services.metrics.adapters.series import write_series
from services.metrics.domain.rows import ExperimentRow, PartitionRows

_EXPERIMENTS = """
INSERT INTO partition_experiments AS old (partition, experiment_id, multi_variant_units, latest_ms)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (experiment_id, partition) DO UPDATE
SET multi_variant_units = excluded.multi_variant_units, latest_ms = excluded.latest_ms,
    version = old.version + 1
"""
_VARIANTS = """
INSERT INTO partition_variants (partition, experiment_id, variant, units, exposures, conversions,
    last_exposed_ms, late_units)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
    $8::bigint[])
ON CONFLICT (experiment_id, variant, partition) DO UPDATE
SET units = excluded.units, exposures = excluded.exposures, conversions = excluded.conversions,
    last_exposed_ms = excluded.last_exposed_ms, late_units = excluded.late_units
"""
_METRICS = """
INSERT INTO partition_metrics (partition, experiment_id, variant, metric, units, converted_units, total,
    total_squares, covariate_total, covariate_squares, cross_total, sketch)
SELECT $1, e, v, m, u, c, t::numeric, q::numeric, x::numeric, y::numeric, z::numeric, s::jsonb
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::text[]) AS rows (e, v, m, u, c, t, q, x, y, z, s)
ON CONFLICT (experiment_id, variant, metric, partition) DO UPDATE
SET units = excluded.units, converted_units = excluded.converted_units, total = excluded.total,
    total_squares = excluded.total_squares, covariate_total = excluded.covariate_total,
    covariate_squares = excluded.covariate_squares, cross_total = excluded.cross_total,
    sketch = excluded.sketch
"""


async def write_rows(connection: Connection, partition: int, rows: PartitionRows) -> None:
    """Write absolute values of the experiments in `rows`. The caller holds the transaction and the lease."""
    if not rows:
        return
    await connection.execute(
        _EXPERIMENTS,
        partition,
        [row.experiment_id for row in rows],
        [row.multi_variant_units for row in rows],
        [row.latest_ms for row in rows],
    )
    await _write_variants(connection, partition, rows)
    await _write_metrics(connection, partition, rows)
    await write_series(connection, partition, rows)


async def _write_variants(connection: Connection, partition: int, rows: tuple[ExperimentRow, ...]) -> None:
    variants = [each for row in rows for each in row.variants]
    await connection.execute(
        _VARIANTS,
        partition,
        [each.experiment_id for each in variants],
        [each.variant for each in variants],
        [each.units for each in variants],
        [each.exposures for each in variants],
        [each.conversions for each in variants],
        [each.last_exposed_ms for each in variants],
        [each.late_units for each in variants],
    )


async def _write_metrics(connection: Connection, partition: int, rows: tuple[ExperimentRow, ...]) -> None:
    metrics = [each for row in rows for each in row.metrics]
    if not metrics:
        return
    # As text: PostgreSQL's arrays of numbers on the wire end at 64 bits.
    await connection.execute(
        _METRICS,
        partition,
        [each.experiment_id for each in metrics],
        [each.variant for each in metrics],
        [each.metric for each in metrics],
        [each.sums.units for each in metrics],
        [each.sums.converted_units for each in metrics],
        [str(each.sums.total) for each in metrics],
        [str(each.sums.total_squares) for each in metrics],
        [str(each.sums.covariate_total) for each in metrics],
        [str(each.sums.covariate_squares) for each in metrics],
        [str(each.sums.cross) for each in metrics],
        [json.dumps(each.sketch) for each in metrics],
    )
