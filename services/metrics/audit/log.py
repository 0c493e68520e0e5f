"""Reading the log: what is known of the experiment, and its events from the first up to given offsets."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from libs.common.bus.ports import Bus, Consumer, Record, TopicPartition
from schemas.decode import Malformed, decode
from schemas.experiments import Experiment
from schemas.results import Result
from services.metrics.audit.errors import CannotAudit
from services.metrics.audit.events import Did, LeftOut, Met, did, met

EXPOSURES, CONVERSIONS = "exposures", "conversions"
FETCH_TIMEOUT_MS = 1_000
MAX_RECORDS = 5_000
MAX_EMPTY_FETCHES = 30
"""In a row: then the records that should be there are not coming."""

Offsets = Mapping[TopicPartition, int]
"""The next offset of each partition: all records before it are covered."""


@dataclass(slots=True)
class Told:
    """The latest words on one experiment."""

    definition: Experiment | None = None
    result: Result | None = None


@dataclass(slots=True)
class Facts:
    """The experiment's exposures and its units' conversions, by partition, in the order of the log."""

    exposures: dict[int, list[Met]] = field(default_factory=lambda: defaultdict(list))
    conversions: dict[int, list[Did]] = field(default_factory=lambda: defaultdict(list))
    read: Counter[str] = field(default_factory=Counter)
    """Records by topic, of all experiments."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Those of them that count for nothing: malformed, or too far from the time of their record."""


async def read_told(bus: Bus, experiment_id: str) -> Told:
    """Return the definition of the highest revision and the latest result that the log holds now.

    What cannot be read is passed over: those who follow these topics have reported it.
    """
    told = Told()
    async with _reading(bus, ("experiments", "results")) as reader:
        ends = await reader.end_offsets(reader.assignment())
        async for record in _until(reader, ends):
            if record.key != experiment_id.encode():
                continue
            try:
                event = decode(record.topic, record.value, record.timestamp_ms)
            except Malformed:
                continue
            if isinstance(event, Result):
                told.result = event
            elif isinstance(event, Experiment):
                told.definition = newer(told.definition, event)
    return told


def newer(one: Experiment | None, other: Experiment | None) -> Experiment | None:
    """Return the definition of the higher revision, of equal ones the first."""
    if one is None or other is None:
        return one or other
    return one if one.revision >= other.revision else other


async def read_facts(bus: Bus, experiment: Experiment, until: Offsets) -> Facts:
    """Return the events before the offsets `until`; partitions that it does not name are not read.

    Raises CannotAudit when the log no longer begins at offset 0, or ends before `until`.
    """
    facts = Facts()
    async with _reading_to(bus, EXPOSURES, until) as records:
        async for record in records:
            _note_exposure(facts, record, experiment)
    units = {each.unit_id for exposures in facts.exposures.values() for each in exposures}
    async with _reading_to(bus, CONVERSIONS, until) as records:
        async for record in records:
            _note_conversion(facts, record, units)
    return facts


def _note_exposure(facts: Facts, record: Record, experiment: Experiment) -> None:
    facts.read[record.topic] += 1
    try:
        found = met(record, experiment)
    except LeftOut:
        facts.left_out[record.topic] += 1
        return
    if found is not None:
        facts.exposures[record.partition].append(found)


def _note_conversion(facts: Facts, record: Record, units: set[str]) -> None:
    facts.read[record.topic] += 1
    try:
        found = did(record)
    except LeftOut:
        facts.left_out[record.topic] += 1
        return
    if found is not None and found.unit_id in units:
        facts.conversions[record.partition].append(found)


@asynccontextmanager
async def _reading(bus: Bus, topics: Sequence[str]) -> AsyncIterator[Consumer]:
    reader = bus.reader(topics)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


@asynccontextmanager
async def _reading_to(bus: Bus, topic: str, until: Offsets) -> AsyncIterator[AsyncIterator[Record]]:
    wanted = {each: offset for each, offset in until.items() if each.topic == topic and offset > 0}
    async with _reading(bus, (topic,)) as reader:
        await _check_complete(reader, wanted)
        yield _until(reader, wanted)


async def _check_complete(reader: Consumer, wanted: Offsets) -> None:
    missing = sorted(wanted.keys() - reader.assignment())
    if missing:
        raise CannotAudit(
            f"{', '.join(map(str, missing))}: published offsets speak of it, and the log does not have it",
            next_step="is this the cluster that ingest reads? Check KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL",
        )
    first = await reader.beginning_offsets(frozenset(wanted))
    gone = [f"{each} begins at offset {first[each]}" for each in sorted(wanted) if first[each] > 0]
    if gone:
        raise CannotAudit(
            f"retention has removed the beginning of the log: {'; '.join(gone)}",
            next_step="audit while the whole log is there: raise retention.ms of exposures and conversions",
        )
    end = await reader.end_offsets(frozenset(wanted))
    short = [
        f"{each} ends at {end[each]}, published are {offset}"
        for each, offset in sorted(wanted.items())
        if end[each] < offset
    ]
    if short:
        raise CannotAudit(
            f"the log is shorter than what is published: {'; '.join(short)}",
            next_step="the topic was deleted and created anew, or this is another cluster: check "
            "KAFKA_BOOTSTRAP_SERVERS, or reset ingest's state and let it begin anew",
        )


async def _until(reader: Consumer, ends: Offsets) -> AsyncIterator[Record]:
    """Yield the records before `ends`, those of a partition in order."""
    empty = 0
    while waiting := [each for each, end in ends.items() if reader.positions()[each] < end]:
        found = await reader.fetch(timeout_ms=FETCH_TIMEOUT_MS, max_records=MAX_RECORDS)
        empty = 0 if found else empty + 1
        if empty == MAX_EMPTY_FETCHES:
            raise CannotAudit(
                f"{', '.join(map(str, sorted(waiting)))}: Kafka hands out no more records",
                next_step="see whether all brokers are well, and run the audit again",
            )
        for partition, records in found.items():
            end = ends.get(partition, 0)
            for record in records:
                if record.offset < end:
                    yield record
