"""Writes what a partition counted, in the transaction that moves its offsets on."""

import asyncio
import json
from collections import Counter

import msgspec
import zstandard

from libs.common.db.pool import Connection
from libs.common.telemetry.names import EVENTS_IGNORED, collector
from services.drift.adapters.examples import ExampleDataset
from services.drift.domain.rows import DriftRows, Progress, WindowBody

_WINDOW = """
INSERT INTO windows (model, version, start_ms, partition, predictions, real_valued, labelled, correct, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (model, version, start_ms, partition) DO UPDATE SET predictions = excluded.predictions,
    real_valued = excluded.real_valued, labelled = excluded.labelled, correct = excluded.correct,
    body = excluded.body
"""
_LABELS = """
UPDATE windows SET labelled = $5, correct = $6
WHERE model = $1 AND version = $2 AND start_ms = $3 AND partition = $4
"""
_TOTAL = """
INSERT INTO totals (model, version, partition, predictions, labelled) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (model, version, partition) DO UPDATE
SET predictions = excluded.predictions, labelled = excluded.labelled
"""
_PROGRESS = """
WITH before AS (SELECT left_out FROM progress WHERE partition = $1)
INSERT INTO progress (partition, watermark_ms, left_out, feedback_ms) VALUES ($1, $2, $3, $4)
ON CONFLICT (partition) DO UPDATE SET watermark_ms = excluded.watermark_ms, left_out = excluded.left_out,
    feedback_ms = excluded.feedback_ms
RETURNING (SELECT left_out FROM before)
"""
_LEVEL = 1
MAX_BODY_BYTES = 64 * 1024 * 1024


class RowWriter:
    """Writes rows to PostgreSQL and examples to their dataset: first the examples, which the rest covers."""

    def __init__(self, examples: ExampleDataset) -> None:
        self._examples = examples

    async def __call__(self, connection: Connection, partition: int, rows: DriftRows) -> None:
        """Write everything of `rows`. Raises Retryable when a file or the database refuses."""
        if rows.examples:
            await asyncio.to_thread(self._examples.write, partition, rows.examples)
        await connection.executemany(
            _WINDOW,
            [
                (
                    *each.key, partition, each.tally.predictions, each.tally.real_valued,
                    each.tally.labelled, each.tally.correct, pack_body(each.body),
                )
                for each in rows.windows if each.body is not None
            ],
        )  # fmt: skip
        await connection.executemany(
            _LABELS,
            [
                (*each.key, partition, each.tally.labelled, each.tally.correct)
                for each in rows.windows
                if each.body is None
            ],
        )
        await connection.executemany(
            _TOTAL, [(*each.key, partition, each.predictions, each.labelled) for each in rows.totals]
        )
        await _write_progress(connection, partition, rows.progress)


async def _write_progress(connection: Connection, partition: int, progress: Progress) -> None:
    """Write it, and count for telemetry what was left out since it was last written, by whomever. A write
    that is not committed is counted again: the exact figures are those in the table."""
    left_out = progress.left_out
    before = await connection.fetchval(
        _PROGRESS, partition, progress.watermark_ms, json.dumps(left_out), progress.feedback_ms
    )
    for reason, count in (Counter(left_out) - Counter(json.loads(before or "{}"))).items():
        collector(EVENTS_IGNORED).labels(reason).inc(count)


def pack_body(body: WindowBody) -> bytes:
    """Return a window's histograms as they are stored."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(msgspec.msgpack.encode(body))


def unpack_body(packed: bytes) -> WindowBody:
    """Return the histograms that `pack_body` packed."""
    raw = zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_BODY_BYTES)
    return msgspec.msgpack.decode(raw, type=WindowBody)
