"""Reading the log: what is known of the experiment, and its events from the first up to given offsets."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from libs.common.bus.ports import Bus, Consumer, Record, TopicPartition
from schemas.decode import Malformed, decode
from schemas.experiments import Experiment
from schemas.results import Result
from services.metrics.audit.events import Did, LeftOut, Met, did, met
from services.metrics.audit.reading import Offsets, batches, reading
from services.metrics.audit.retention import check_complete, conversions_since_ms, exposures_since_ms

EXPOSURES, CONVERSIONS = "exposures", "conversions"


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
    cut: dict[TopicPartition, int] = field(default_factory=dict)
    """See `retention.Cut`."""


async def read_told(bus: Bus, experiment_id: str) -> Told:
    """Return the definition of the highest revision and the latest result that the log holds now.

    What cannot be read is passed over: those who follow these topics have reported it.
    """
    told = Told()
    async with reading(bus, ("experiments", "results")) as reader:
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


async def read_uncovered(bus: Bus, published: Offsets) -> dict[int, int]:
    """Return, of partitions that nothing is published of, how many records the log holds now; only those that
    hold some."""
    covered = {each.partition for each, offset in published.items() if offset > 0}
    async with reading(bus, (EXPOSURES, CONVERSIONS)) as reader:
        places = frozenset(each for each in reader.assignment() if each.partition not in covered)
        first, end = await reader.beginning_offsets(places), await reader.end_offsets(places)
    found: Counter[int] = Counter()
    for each in places:
        found[each.partition] += end[each] - first[each]
    return {partition: records for partition, records in sorted(found.items()) if records}


async def read_facts(bus: Bus, experiment: Experiment, until: Offsets) -> Facts:
    """Return the events before the offsets `until`; partitions that it does not name are not read.

    Raises CannotAudit when retention may have taken some that matter, or the log ends before `until`.
    """
    facts = Facts()
    async with _reading_to(bus, facts, _Span(EXPOSURES, exposures_since_ms(experiment), until)) as records:
        async for record in records:
            _note_exposure(facts, record, experiment)
    units = {each.unit_id for exposures in facts.exposures.values() for each in exposures}
    async with _reading_to(
        bus, facts, _Span(CONVERSIONS, conversions_since_ms(experiment), until)
    ) as records:
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


class _Span(NamedTuple):
    """What to read of a topic."""

    topic: str
    since_ms: int
    """What happened before does not matter."""
    until: Offsets


@asynccontextmanager
async def _reading_to(bus: Bus, facts: Facts, span: _Span) -> AsyncIterator[AsyncIterator[Record]]:
    wanted = {each: end for each, end in span.until.items() if each.topic == span.topic and end > 0}
    async with reading(bus, (span.topic,)) as reader:
        facts.cut.update(await check_complete(reader, wanted, span.since_ms))
        yield _until(reader, wanted)


async def _until(reader: Consumer, ends: Offsets) -> AsyncIterator[Record]:
    """Yield the records before `ends`, those of a partition in order."""

    def waiting() -> Sequence[TopicPartition]:
        return [each for each, end in ends.items() if reader.positions()[each] < end]

    async for found in batches(reader, waiting):
        for partition, records in found.items():
            end = ends.get(partition, 0)
            for record in records:
                if record.offset < end:
                    yield record
