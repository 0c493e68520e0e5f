"""Labelled examples as a Parquet dataset: `model=<m>/day=<yyyy-mm-dd>/part-<partition>-<...>.parquet`.

Columns: prediction_id, unit_id (text), occurred_at_ms, labelled_at_ms (int64), model_version, output, label
(text), confidence (float64, may be missing) and `f_<name>` (float64, may be missing) for each numeric
feature.
The day is that of the prediction, UTC. Whole numbers as labels are text without a point: "3".

Files appear whole (written under a hidden name, then renamed) and before the offsets that cover them are
committed: none is lost, and a crash in between writes some examples twice. Readers keep one row per
prediction_id. The name is derived from the content, so the same hand-out twice is one file.
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from libs.common.errors import Retryable
from libs.common.ids import derived_id
from services.drift.domain.rows import Example

_TEXTS = ("prediction_id", "unit_id", "model_version", "output", "label")
_TIMES = ("occurred_at_ms", "labelled_at_ms")
_NAME_CHARS = 12


class ExampleDataset:
    """The dataset under one folder, which is made when it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, partition: int, examples: Sequence[Example]) -> list[Path]:
        """Write one file per model and day, and return them. Blocks. Raises Retryable when the disk refuses;
        then nothing is half there, and writing the same again is safe."""
        groups: dict[tuple[str, str], list[Example]] = defaultdict(list)
        for example in examples:
            groups[example.model, _day(example.occurred_at_ms)].append(example)
        try:
            return [
                self._write_group(self._folder / f"model={model}" / f"day={day}", partition, group)
                for (model, day), group in sorted(groups.items())
            ]
        except OSError as error:
            raise Retryable(
                f"examples cannot be written to {self._folder}: {error.strerror}",
                next_step="make room, or make EXAMPLES_DIR writable",
            ) from error

    def _write_group(self, folder: Path, partition: int, examples: Sequence[Example]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        name = derived_id(*(each.prediction_id for each in examples))[:_NAME_CHARS]
        last_ms = max(each.labelled_at_ms for each in examples)
        path = folder / f"part-{partition}-{last_ms}-{name}.parquet"
        handle, hidden = tempfile.mkstemp(prefix=".part-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                pq.write_table(table_of(examples), file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            os.chmod(hidden, 0o644)  # the retrainer may run as somebody else
            os.replace(hidden, path)
        except BaseException:
            Path(hidden).unlink(missing_ok=True)
            raise
        return path


def table_of(examples: Sequence[Example]) -> pa.Table:
    """Return the examples as one table, columns as the module says."""
    names = sorted({name for each in examples for name in each.features})
    columns: dict[str, pa.Array] = {}
    for name in _TEXTS:
        columns[name] = pa.array([getattr(each, name) for each in examples], pa.string())
    for name in _TIMES:
        columns[name] = pa.array([getattr(each, name) for each in examples], pa.int64())
    columns["confidence"] = pa.array([each.confidence for each in examples], pa.float64())
    for name in names:
        columns[f"f_{name}"] = pa.array([each.features.get(name) for each in examples], pa.float64())
    return pa.table(columns)


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d")
