"""Labelled production examples, as drift writes them:
`model=<m>/day=<yyyy-mm-dd of the prediction, UTC>/part-<partition>-<latest labelled_at_ms>-<hash>.parquet`.

Columns: prediction_id, unit_id, occurred_at_ms, labelled_at_ms, model_version, f_<feature>..., output,
label, confidence. The same prediction may lie in several files (a writer that was killed writes again): it
counts once. A file that cannot be read is skipped and named in the notes. Files whose name begins with `.` or
`_` are being written.

A window is one of labels: an example is in it when its label became known in it, since that is the time in
which drift saw the model get worse (`since_ms` of a degradation). With labels that come late an example's
prediction may be older than the window, and one made just before the change, whose label took longer than
others, is then of the old world. Such stragglers are taken: they are part of the windows that were judged
bad, while asking for the prediction's time as well would find nothing at all until a whole label delay has
passed. Order, and with it the split for validation and "the latest", go by the prediction's time: the
stragglers come first, so that the candidate is judged by the newest predictions. A file or row without
labelled_at_ms goes by occurred_at_ms.
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
LONGEST_LABEL_WAIT_MS = 90 * 86_400_000
"""The longest that drift lets a prediction wait for its label: older days hold nothing of a window."""

_NEEDED = ("prediction_id", "occurred_at_ms", "label")
_COUNTED = (*_NEEDED, "labelled_at_ms")
_READ = (*_COUNTED, "model_version", "output")
_NAME = re.compile(r"part-\d+-(\d+)-.*\.parquet")


class ParquetCounter:
    """Counts below `folder`, in a thread: files are read, and the caller's loop goes on."""

    def __init__(self, folder: Path) -> None:
        self._examples = ParquetExamples(folder)

    async def count(self, model: str, from_ms: int, *, enough: int) -> int:
        """Return how many labels became known since `from_ms`; counting stops when there are `enough`."""
        return await asyncio.to_thread(self._examples.count, model, from_ms, enough=enough)


class ParquetExamples:
    """Reads the dataset below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self, model: str, from_ms: int, *, enough: int) -> int:
        """Return how many labels became known since `from_ms`; counting stops when there are `enough`."""
        seen: set[str] = set()
        for file in (file for day in self._days(model, from_ms) for file in _files(day, from_ms)):
            table = _load(file, lambda name: name in _COUNTED)
            if table is not None:
                seen.update(_window(table, from_ms, None)["prediction_id"].to_pylist())
            if len(seen) >= enough:
                break
        return len(seen)

    def read(self, model: str, from_ms: int, until_ms: int, *, most: int) -> Examples:
        """Return the examples whose labels became known in the window, in order of their predictions' time;
        of more than `most` the latest of all partitions. Holds about three times `most` rows at once.

        Raises Refused when there are none, or when files contradict each other in their columns' types.
        """
        latest, notes = _Latest(model, most), list[str]()
        for day in self._days(model, from_ms):
            for file in _files(day, from_ms):
                table = _load(file, lambda name: name in _READ or name.startswith(PREFIX))
                if table is None:
                    notes.append(f"{day.name}/{file.name} cannot be read and was left out.")
                else:
                    latest.add(_window(table, from_ms, until_ms))
            # Days are read newest first, so what is left is older. Within a day the files have no order.
            if latest.full():
                break
        found = latest.table()
        if found is None:
            raise Refused(f"no labelled examples of {model} between {from_ms} and {until_ms} ms")
        return _examples(found, notes)

    def _days(self, model: str, from_ms: int) -> Iterator[Path]:
        """Yield the days whose predictions may have got their label since then, newest first."""
        first = datetime.fromtimestamp(max(from_ms - LONGEST_LABEL_WAIT_MS, 0) / 1_000, UTC)
        # A day's margin: whichever clock or zone named the folder.
        oldest = f"day={first - timedelta(days=1):%Y-%m-%d}"
        for day in sorted((self._folder / f"model={model}").glob("day=*"), reverse=True):
            if day.name >= oldest:
                yield day


class _Latest:
    """Of all rows that are added the latest, each prediction once."""

    def __init__(self, model: str, most: int) -> None:
        self._model = model
        self._most = most
        self._tables: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        if table.num_rows:
            self._tables.append(table)
        if sum(each.num_rows for each in self._tables) >= 3 * self._most:
            self.table()

    def full(self) -> bool:
        found = self.table()
        return found is not None and found.num_rows >= self._most

    def table(self) -> pa.Table | None:
        """Return them in order of time; None when there are none."""
        if not self._tables:
            return None
        try:
            table = pa.concat_tables(self._tables, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise Refused(f"the example files of {self._model} contradict each other: {error}") from error
        self._tables = [_unique(table, self._most)]
        return self._tables[0]


def _files(day: Path, from_ms: int) -> Iterator[Path]:
    """Yield the files of a day, without those whose names say that their labels are all older."""
    for file in sorted(day.glob("*.parquet")):
        named = _NAME.fullmatch(file.name)
        if file.name[0] not in "._" and not (named and int(named[1]) < from_ms):
            yield file


def _load(file: Path, wanted: Callable[[str], bool]) -> pa.Table | None:
    try:
        opened = pq.ParquetFile(file)
        columns = [name for name in opened.schema_arrow.names if wanted(name)]
        missing = {*_NEEDED} - set(columns)
        if missing:
            raise pa.ArrowInvalid(f"it lacks the columns {', '.join(sorted(missing))}")
        return opened.read(columns=columns, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        log.warning("%s cannot be read: %s", file, error)
        return None


def _window(table: pa.Table, from_ms: int, until_ms: int | None) -> pa.Table:
    times = table["occurred_at_ms"]
    if "labelled_at_ms" in table.column_names:
        times = pc.coalesce(table["labelled_at_ms"], times)
        table = table.drop_columns(["labelled_at_ms"])
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
