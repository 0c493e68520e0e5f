"""Ingest's hours and segments in PostgreSQL: written within the line's transaction."""

from collections.abc import Sequence

from libs.common.db.pool import Connection
from services.metrics.adapters.values import to_column
from services.metrics.domain.rows import HourRow, PartitionRows, SegmentRow

_HOURS = """
INSERT INTO partition_hours (partition, experiment_id, variant, hour_ms, units, exposures, conversions)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
ON CONFLICT (experiment_id, hour_ms, variant, partition) DO UPDATE
SET units = excluded.units, exposures = excluded.exposures, conversions = excluded.conversions
"""
# Of many segments few change between two writes: the others are not written again.
_SEGMENTS = """
INSERT INTO partition_segments AS old (partition, experiment_id, variant, attribute, kind, value, metric,
    units, converted_units, total, total_squares)
SELECT $1, e, v, a, k, x, m, u, c, t::numeric, q::numeric
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::bigint[], $10::text[], $11::text[]) AS rows (e, v, a, k, x, m, u, c, t, q)
ON CONFLICT (experiment_id, variant, attribute, kind, value, metric, partition) DO UPDATE
SET units = excluded.units, converted_units = excluded.converted_units, total = excluded.total,
    total_squares = excluded.total_squares
WHERE (old.units, old.converted_units, old.total, old.total_squares)
    <> (excluded.units, excluded.converted_units, excluded.total, excluded.total_squares)
"""


async def write_series(connection: Connection, partition: int, rows: PartitionRows) -> None:
    """Write absolute values of the hours and segments in `rows`; the others stay as they are."""
    await _write_hours(connection, partition, [each for row in rows for each in row.hours])
    await _write_segments(connection, partition, [each for row in rows for each in row.segments])


async def _write_hours(connection: Connection, partition: int, hours: Sequence[HourRow]) -> None:
    if not hours:
        return
    await connection.execute(
        _HOURS,
        partition,
        [each.experiment_id for each in hours],
        [each.variant for each in hours],
        [each.hour_ms for each in hours],
        [each.units for each in hours],
        [each.exposures for each in hours],
        [each.conversions for each in hours],
    )


async def _write_segments(connection: Connection, partition: int, segments: Sequence[SegmentRow]) -> None:
    if not segments:
        return
    await connection.execute(
        _SEGMENTS,
        partition,
        [each.experiment_id for each in segments],
        [each.variant for each in segments],
        [each.attribute for each in segments],
        [each.kind.value for each in segments],
        [to_column(each.value) for each in segments],
        [each.metric for each in segments],
        [each.sums.units for each in segments],
        [each.sums.converted_units for each in segments],
        [str(each.sums.total) for each in segments],
        [str(each.sums.total_squares) for each in segments],
    )
