"""A partition's state as bytes and back: tallies as msgpack, tables as their columns, with a version. Never
pickle.

The first chunk is a header with all tallies, and says which columns follow, as one stream. Numbers beyond
64 bits travel as text.
"""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from libs.common.errors import Misconfigured
from schemas.experiments import Breakdown, MetricKind
from services.metrics.domain.board import Board
from services.metrics.domain.chunks import Chunks, Scratch, Stream
from services.metrics.domain.columns import roomy
from services.metrics.domain.definitions import MetricPlan, Plan
from services.metrics.domain.join import Join
from services.metrics.domain.tallies import Cell, ExperimentTally, VariantTally

DUMP_VERSION = 4


class MetricDump(Struct, array_like=True):
    """A metric of a plan."""

    name: str
    conversion: str
    window_ms: int
    kind: MetricKind
    lower: int | None
    upper: int | None
    covariate_window_ms: int
    denominator: str | None


class CellDump(Struct, array_like=True):
    """The units of a variant in one segment."""

    breakdown: int
    digit: int
    units: int
    metrics: list[list[str]]


class VariantDump(Struct, array_like=True):
    """A variant's tally."""

    key: str
    place: int
    counts: tuple[int, int, int]
    """Units, exposures, conversions."""
    metrics: list[list[str]]
    hours: list[tuple[int, int, int, int]]
    """Hour since 1970, units, exposures, conversions."""
    cells: list[CellDump]
    sketches: dict[int, dict[int, int]]
    """By the metric's place in the plan: units by bin."""
    last_exposed_ms: int


class TallyDump(Struct, array_like=True):
    """An experiment's tally, and the plan that it was counted by."""

    experiment_id: str
    latest_ms: int
    crossed_units: int
    metrics: list[MetricDump]
    breakdowns: list[tuple[str, tuple[str, ...]]]
    waiting: dict[int, dict[str, str | bool | float]]
    variants: list[VariantDump]


class Column(Struct, array_like=True):
    """A column of a table, as its bytes follow."""

    table: str
    name: str
    dtype: str
    nbytes: int


class Header(Struct, array_like=True):
    """Everything but the tables."""

    version: int
    exposed_until_ms: int
    converted_until_ms: int
    places: int
    tallies: list[TallyDump]
    large: list[tuple[str, int, str]]
    columns: list[Column]
    swept_at_ms: int = 0


class _Version(Struct, array_like=True):
    version: int


_encoder = Encoder()
_header = Decoder(Header)
_version = Decoder(_Version)


def dump_join(join: Join, scratch: Scratch) -> Chunks:
    """Return everything that `load_join` needs, as it is now, in a copy that lies in `scratch`."""
    tables = {name: table.columns() for name, table in join.store.tables().items()}
    columns = [(table, name, column) for table, found in tables.items() for name, column in found.items()]
    header = Header(
        DUMP_VERSION,
        join.upkeep.clocks.exposed_until_ms,
        join.upkeep.clocks.converted_until_ms,
        len(join.board.homes),
        [_tally_dump(each) for each in join.board.tallies.values()],
        [(name, row, str(number)) for (name, row), number in join.store.large.items()],
        [Column(table, name, _portable(column).str, column.nbytes) for table, name, column in columns],
        join.upkeep.swept_at_ms,
    )
    return Chunks(_encoder.encode(header), [_little(column) for _, _, column in columns], scratch)


def load_join(join: Join, dump: Iterable[bytes]) -> None:
    """Fill an empty join. Every experiment counts as changed: who wrote the dump may not have published it.

    Raises Misconfigured when this version of the program cannot read it.
    """
    chunks = iter(dump)
    header = _read_header(next(chunks, b""))
    join.upkeep.clocks.expose(header.exposed_until_ms)
    join.upkeep.clocks.convert(header.converted_until_ms)
    join.upkeep.swept_at_ms = header.swept_at_ms
    board = join.board
    nobody = ExperimentTally("", Plan())
    board.homes = [VariantTally("", place, nobody) for place in range(header.places)]
    for each in header.tallies:
        _load_tally(board, each)
    board.free = [home.place for home in reversed(board.homes) if home.tally is nobody]
    join.store.large = {(name, row): int(number) for name, row, number in header.large}
    tables: dict[str, dict[str, npt.NDArray[Any]]] = {name: {} for name in join.store.tables()}
    stream = Stream(chunks)
    rows: dict[str, int] = {}
    for column in header.columns:
        rows[column.table] = column.nbytes // np.dtype(column.dtype).itemsize
        tables[column.table][column.name] = _read_column(column, rows[column.table], stream)
    try:
        join.store.fill(tables, rows)
    except KeyError as error:
        raise _unreadable(f"there is no column {error}") from error
    join.upkeep.count_waiting()


def _portable(column: npt.NDArray[Any]) -> np.dtype[Any]:
    return column.dtype.newbyteorder("<")


def _little(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return column if sys.byteorder == "little" else column.astype(_portable(column))


def _read_column(column: Column, rows: int, stream: Stream) -> npt.NDArray[Any]:
    # With room to grow, which costs nothing here: the first event would else move all that was read.
    found = np.zeros(roomy(rows), column.dtype)
    if not stream.read_into(found[:rows].view(np.uint8)):
        raise _unreadable(f"{column.table}.{column.name} is cut off")
    return found


def _read_header(chunk: bytes) -> Header:
    try:
        found = _version.decode(chunk).version
        if found == DUMP_VERSION:
            return _header.decode(chunk)
        problem = f"version {found}, this program reads {DUMP_VERSION}"
    except MsgspecError as error:
        problem = str(error)
    raise _unreadable(problem)


def _unreadable(problem: str) -> Misconfigured:
    return Misconfigured(
        f"the snapshot of metrics cannot be read: {problem}",
        next_step="start the version that wrote it, or stop ingest and say `python -m services.metrics reset "
        "--yes --partition N`: the next ingest begins anew with what the log holds",
    )


def _tally_dump(tally: ExperimentTally) -> TallyDump:
    return TallyDump(
        tally.experiment_id,
        tally.latest_ms,
        tally.crossed_units,
        [
            MetricDump(
                each.name,
                each.conversion,
                each.window_ms,
                each.kind,
                each.lower,
                each.upper,
                each.covariate_window_ms,
                each.denominator,
            )
            for each in tally.plan.metrics
        ],
        [(each.attribute, each.values) for each in tally.plan.breakdowns],
        tally.waiting,
        [_variant_dump(each) for each in tally.variants.values()],
    )


def _variant_dump(variant: VariantTally) -> VariantDump:
    return VariantDump(
        variant.key,
        variant.place,
        (variant.units, variant.exposures, variant.conversions),
        _texts(variant.metrics),
        [(number, hour[0], hour[1], hour[2]) for number, hour in variant.hours.items()],
        [
            CellDump(breakdown, digit, cell.units, _texts(cell.metrics))
            for (breakdown, digit), cell in variant.cells.items()
        ],
        variant.sketches,
        variant.last_exposed_ms,
    )


def _load_tally(board: Board, dump: TallyDump) -> None:
    plan = Plan(
        tuple(
            MetricPlan(
                m.name,
                m.conversion,
                m.window_ms,
                m.kind,
                m.lower,
                m.upper,
                m.covariate_window_ms,
                m.denominator,
            )
            for m in dump.metrics
        ),
        tuple(Breakdown(attribute=attribute, values=values) for attribute, values in dump.breakdowns),
    )
    tally = board.tallies[dump.experiment_id] = ExperimentTally(dump.experiment_id, plan)
    tally.latest_ms, tally.crossed_units, tally.changed = dump.latest_ms, dump.crossed_units, True
    tally.waiting = dump.waiting
    for each in dump.variants:
        variant = board.homes[each.place] = VariantTally(each.key, each.place, tally)
        board.put(tally, variant)
        variant.units, variant.exposures, variant.conversions = each.counts
        variant.last_exposed_ms = each.last_exposed_ms
        variant.metrics, variant.sketches = _numbers(each.metrics), each.sketches
        variant.hours = {number: [*counts, 0] for number, *counts in each.hours}
        for cell_dump in each.cells:
            cell = variant.cells[cell_dump.breakdown, cell_dump.digit] = Cell(0)
            cell.units, cell.metrics = cell_dump.units, _numbers(cell_dump.metrics)
            cell.touched = False


def _texts(sums: list[list[int]]) -> list[list[str]]:
    return [[str(number) for number in each] for each in sums]


def _numbers(texts: list[list[str]]) -> list[list[int]]:
    return [[int(text) for text in each] for each in texts]
