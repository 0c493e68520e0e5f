"""Labelled production examples, as drift writes them: `model=<m>/day=<yyyy-mm-dd>/*.parquet`.

Columns: prediction_id, unit_id, occurred_at_ms, model_version, f_<feature>..., output, label, confidence. The
same prediction may lie in several files (a writer that was killed writes again): it counts once. A file that
cannot be read is skipped and named in the notes. Files whose name begins with `.` or `_` are being written.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from libs.common.errors import Refused
from services.retrainer.domain.examples import Examples, as_labels, class_names

log = logging.getLogger(__name__)

PREFIX = "f_"
_COUNTED = ("prediction_id", "occurred_at_ms", "label")
_READ = (*_COUNTED, "model_version", "output")


class ParquetCounter:
    """Counts below `folder`, in a thread: files are read, and the caller's loop goes on."""

    def __init__(self, folder: Path) -> None:
        self._examples = ParquetExamples(folder)

    async def count(self, model: str, from_ms: int, *, enough: int) -> int:
        """Return how many examples there are since `from_ms`; counting stops when there are `enough`."""
        return await asyncio.to_thread(self._examples.count, model, from_ms, enough=enough)


class ParquetExamples:
    """Reads the dataset below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self, model: str, from_ms: int, *, enough: int) -> int:
        """Return how many examples there are since `from_ms`; counting stops when there are `enough`."""
        seen: set[str] = set()
        for file in self._files(model, from_ms):
            table = _load(file, lambda name: name in _COUNTED)
            if table is not None:
                seen.update(_window(table, from_ms, None)["prediction_id"].to_pylist())
            if len(seen) >= enough:
                break
        return len(seen)

    def read(self, model: str, from_ms: int, until_ms: int, *, most: int) -> Examples:
        """Return the examples of the window, in order of time; of more than `most` the latest.

        Raises Refused when there are none, or when files contradict each other in their columns' types.
        """
        tables, notes, rows = [], [], 0
        for file in self._files(model, from_ms):
            table = _load(file, lambda name: name in _READ or name.startswith(PREFIX))
            if table is None:
                notes.append(f"{file.parent.name}/{file.name} cannot be read and was left out.")
                continue
            tables.append(_window(table, from_ms, until_ms))
            rows += tables[-1].num_rows
            # Days are read newest first, so what is missing is older; a margin covers repeated predictions.
            if rows >= 2 * most:
                break
        if not rows:
            raise Refused(f"no labelled examples of {model} between {from_ms} and {until_ms} ms")
        try:
            table = pa.concat_tables(tables, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise Refused(f"the example files of {model} contradict each other: {error}") from error
        return _examples(_unique(table, most), notes)

    def _files(self, model: str, from_ms: int) -> Iterator[Path]:
        """Yield the files that may hold examples since then, newest day first."""
        # A day's margin: whichever clock or zone named the folder.
        first = datetime.fromtimestamp(from_ms / 1_000, UTC) - timedelta(days=1)
        oldest = f"day={first:%Y-%m-%d}"
        days = sorted((self._folder / f"model={model}").glob("day=*"), reverse=True)
        for day in days:
            if day.name >= oldest:
                yield from sorted(file for file in day.glob("*.parquet") if file.name[0] not in "._")


def _load(file: Path, wanted: Callable[[str], bool]) -> pa.Table | None:
    try:
        opened = pq.ParquetFile(file)
        columns = [name for name in opened.schema_arrow.names if wanted(name)]
        missing = {*_COUNTED} - set(columns)
        if missing:
            raise pa.ArrowInvalid(f"it lacks the columns {', '.join(sorted(missing))}")
        return opened.read(columns=columns, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        log.warning("%s cannot be read: %s", file, error)
        return None


def _window(table: pa.Table, from_ms: int, until_ms: int | None) -> pa.Table:
    times = table["occurred_at_ms"]
    keep = pc.and_(pc.greater_equal(times, from_ms), pc.is_valid(table["label"]))
    if until_ms is not None:
        keep = pc.and_(keep, pc.less_equal(times, until_ms))
    return table.filter(keep)


def _unique(table: pa.Table, most: int) -> pa.Table:
    """Order by time, then id; keep each prediction once, and of too many the latest."""
    table = table.sort_by([("occurred_at_ms", "ascending"), ("prediction_id", "ascending")])
    ids = np.asarray(table["prediction_id"].to_pylist(), dtype=np.str_)
    _, first = np.unique(ids, return_index=True)
    return table.take(pa.array(np.sort(first)[-most:]))


def _examples(table: pa.Table, notes: list[str]) -> Examples:
    features, columns = [], []
    for name in sorted((each for each in table.column_names if each.startswith(PREFIX)), key=natural_order):
        column, feature = table[name], name.removeprefix(PREFIX)
        if column.null_count == len(column):
            notes.append(f"Feature {feature} has no value at all and was left out.")
        elif not _is_number(column.type):
            notes.append(f"Feature {feature} is text and was left out: the trainers take numbers.")
        else:
            features.append(feature)
            columns.append(np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64))
    if not features:
        raise Refused("the examples have no numeric feature to learn from")
    return Examples(
        ids=np.asarray(table["prediction_id"].to_pylist(), dtype=np.str_),
        times_ms=np.asarray(table["occurred_at_ms"].to_numpy(), dtype=np.int64),
        versions=np.asarray([str(each) for each in table["model_version"].to_pylist()], dtype=np.str_),
        outputs=class_names(_values(table["output"])),
        labels=as_labels(_values(table["label"])),
        table=np.column_stack(columns),
        features=tuple(features),
        notes=tuple(notes),
    )


def _values(column: pa.ChunkedArray) -> NDArray[np.generic]:
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    values: NDArray[np.generic] = np.asarray(column.to_pylist())
    return values


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that counts as people do: pixel_2 comes before pixel_10."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
