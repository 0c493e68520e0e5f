"""A partition's state as bytes and back: msgpack of plain structs, with a version. Never pickle.

The first chunk is a header with all tallies; the others hold units. Numbers beyond 64 bits travel as text.
"""

from collections.abc import Iterable

from msgspec import MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from libs.common.errors import Misconfigured
from schemas.experiments import Breakdown
from services.metrics.domain.definitions import MetricPlan, Plan
from services.metrics.domain.join import Join
from services.metrics.domain.store import Chunks, Store
from services.metrics.domain.tallies import Cell, ExperimentTally, VariantTally
from services.metrics.domain.units import Unit

DUMP_VERSION = 2


class MetricDump(Struct, array_like=True):
    """A metric of a plan."""

    name: str
    conversion: str
    window_ms: int
    proportion: bool
    lower: int | None
    upper: int | None
    covariate_window_ms: int


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


class TallyDump(Struct, array_like=True):
    """An experiment's tally, and the plan that it was counted by."""

    experiment_id: str
    latest_ms: int
    crossed_units: int
    metrics: list[MetricDump]
    breakdowns: list[tuple[str, tuple[str, ...]]]
    waiting: dict[str, dict[str, str | bool | float]]
    variants: list[VariantDump]


class Header(Struct, array_like=True):
    """Everything but the units."""

    version: int
    exposed_until_ms: int
    newest_ms: int
    snapshot: int
    places: int
    tallies: list[TallyDump]


class _Version(Struct, array_like=True):
    version: int


_encoder = Encoder()
_header = Decoder(Header)
_version = Decoder(_Version)
_units = Decoder(list[tuple[str, Unit]])


def dump_join(join: Join) -> Chunks:
    """Return everything that `load_join` needs, as it is now, in chunks that are encoded as they are asked
    for."""
    store, upkeep = join.store, join.upkeep
    chunks = store.chunks()
    header = Header(
        DUMP_VERSION,
        upkeep.exposed_until_ms,
        upkeep.newest_ms,
        store.snapshot,
        len(store.homes),
        [_tally_dump(each) for each in store.tallies.values()],
    )
    chunks.header = _encoder.encode(header)
    return chunks


def load_join(join: Join, dump: Iterable[bytes]) -> None:
    """Fill an empty join. Every experiment counts as changed: who wrote the dump may not have published it.

    Raises Misconfigured when this version of the program cannot read it.
    """
    chunks = iter(dump)
    store, upkeep = join.store, join.upkeep
    header = _read_header(next(chunks, b""))
    upkeep.resume(header.exposed_until_ms, header.newest_ms)
    store.snapshot = header.snapshot
    nobody = ExperimentTally("", Plan())
    store.homes = [VariantTally("", place, nobody) for place in range(header.places)]
    for each in header.tallies:
        _load_tally(store, each)
    store.free = [home.place for home in reversed(store.homes) if home.tally is nobody]
    for chunk in chunks:
        try:
            store.units.update(_units.decode(chunk))
        except MsgspecError as error:
            raise _unreadable(str(error)) from error
    upkeep.count_waiting()


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
        next_step="start the version that wrote it, or delete the partition's snapshot: the state is then "
        "rebuilt from the log",
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
                each.proportion,
                each.lower,
                each.upper,
                each.covariate_window_ms,
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
    )


def _load_tally(store: Store, dump: TallyDump) -> None:
    plan = Plan(
        tuple(
            MetricPlan(
                m.name, m.conversion, m.window_ms, m.proportion, m.lower, m.upper, m.covariate_window_ms
            )
            for m in dump.metrics
        ),
        tuple(Breakdown(attribute=attribute, values=values) for attribute, values in dump.breakdowns),
    )
    tally = store.tallies[dump.experiment_id] = ExperimentTally(dump.experiment_id, plan)
    tally.latest_ms, tally.crossed_units, tally.changed = dump.latest_ms, dump.crossed_units, True
    tally.waiting = dump.waiting
    for each in dump.variants:
        variant = store.homes[each.place] = VariantTally(each.key, each.place, tally)
        tally.variants[each.key] = variant
        variant.units, variant.exposures, variant.conversions = each.counts
        variant.metrics = _numbers(each.metrics)
        variant.hours = {number: [*counts, 0] for number, *counts in each.hours}
        for cell_dump in each.cells:
            cell = variant.cells[cell_dump.breakdown, cell_dump.digit] = Cell(0)
            cell.units, cell.metrics = cell_dump.units, _numbers(cell_dump.metrics)
            cell.touched = False


def _texts(sums: list[list[int]]) -> list[list[str]]:
    return [[str(number) for number in each] for each in sums]


def _numbers(texts: list[list[str]]) -> list[list[int]]:
    return [[int(text) for text in each] for each in texts]
