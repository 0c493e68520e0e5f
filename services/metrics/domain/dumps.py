"""A partition's state as bytes and back: msgpack of plain structs, with a version. Never pickle.

Sums are not in it: they are recounted from the units when it is read, under the definitions of that moment.
"""

from msgspec import MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from libs.common.errors import Misconfigured
from services.metrics.domain.join import Join
from services.metrics.domain.units import Enrolment, StoredConversion, Unit

DUMP_VERSION = 1


class EnrolmentDump(Struct, array_like=True, gc=False):
    """One unit in one experiment."""

    experiment_id: str
    variant: str
    at_ms: int
    first_id: str
    others: list[str]
    crossed: bool


class UnitDump(Struct, array_like=True, gc=False):
    """One unit. Conversions: event id, event time, name, value in micro-units."""

    unit_id: str
    latest_ms: int
    enrolments: list[EnrolmentDump]
    conversions: list[tuple[str, int, str, int]]


class TallyDump(Struct, array_like=True, gc=False):
    """What of an experiment's tally the units do not tell: order of variants and counts of exposures."""

    experiment_id: str
    latest_ms: int
    exposures: dict[str, int]


class StateDump(Struct, array_like=True, gc=False):
    """The whole partition."""

    version: int
    exposed_until_ms: int
    tallies: list[TallyDump]
    units: list[UnitDump]


class _Version(Struct, array_like=True):
    version: int


_encoder = Encoder()
_decoder = Decoder(StateDump)
_version = Decoder(_Version)


def dump_join(join: Join) -> bytes:
    """Return everything that `load_join` needs. Takes about a second per million units."""
    return _encoder.encode(
        StateDump(
            DUMP_VERSION,
            join.exposed_until_ms,
            [
                TallyDump(
                    each.experiment_id, each.latest_ms, {v.key: v.exposures for v in each.variants.values()}
                )
                for each in join.tallies.values()
            ],
            [_unit_dump(key, unit) for key, unit in join.units.items()],
        )
    )


def load_join(join: Join, dump: bytes) -> None:
    """Fill an empty join. Everything counts as changed: who wrote the dump may not have published it.

    Raises Misconfigured when this version of the program cannot read it.
    """
    state = _read(dump)
    join.exposed_until_ms = state.exposed_until_ms
    join.newest_ms = max([state.exposed_until_ms, *(each.latest_ms for each in state.units)])
    for tally_dump in state.tallies:
        tally = join.let_in(tally_dump.experiment_id)
        tally.latest_ms = tally_dump.latest_ms
        for variant, exposures in tally_dump.exposures.items():
            tally.let_in(variant).exposures = exposures
    for unit_dump in state.units:
        _load_unit(join, unit_dump)


def _read(dump: bytes) -> StateDump:
    try:
        found = _version.decode(dump).version
        if found == DUMP_VERSION:
            return _decoder.decode(dump)
        problem = f"version {found}, this program reads {DUMP_VERSION}"
    except MsgspecError as error:
        problem = str(error)
    raise Misconfigured(
        f"the snapshot of metrics cannot be read: {problem}",
        next_step="start the version that wrote it, or delete the partition's snapshot: the state is then "
        "rebuilt from the log",
    )


def _unit_dump(unit_id: str, unit: Unit) -> UnitDump:
    conversions = unit.conversions or {}
    return UnitDump(
        unit_id,
        unit.latest_ms,
        [
            EnrolmentDump(
                key, each.home.key, each.at_ms, each.first_id, list(each.others or ()), each.crossed
            )
            for key, each in unit.enrolments.items()
        ],
        [(key, each.at_ms, each.name, each.micro) for key, each in conversions.items()],
    )


def _load_unit(join: Join, dump: UnitDump) -> None:
    unit = join.units[dump.unit_id] = Unit()
    unit.latest_ms = dump.latest_ms
    if dump.conversions:
        unit.conversions = {
            key: StoredConversion(at_ms, name, micro) for key, at_ms, name, micro in dump.conversions
        }
    for each in dump.enrolments:
        tally = join.tallies[each.experiment_id]
        enrolment = Enrolment(each.at_ms, each.first_id, tally.let_in(each.variant))
        enrolment.others = set(each.others) or None
        enrolment.crossed = each.crossed
        join.enrol(unit, tally, enrolment)
