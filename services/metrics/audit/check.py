"""The audit: read what is published, read the log to exactly there, recompute, compare."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.common.bus.ports import Bus, TopicPartition
from schemas.experiments import Experiment
from schemas.results import Result
from services.metrics.audit.errors import CannotAudit
from services.metrics.audit.log import (
    CONVERSIONS,
    EXPOSURES,
    Facts,
    newer,
    read_facts,
    read_told,
    read_uncovered,
)
from services.metrics.audit.numbers import Comparison, compare
from services.metrics.audit.published import Published, ReadPublished
from services.metrics.audit.reading import Offsets
from services.metrics.audit.recompute import GRACE_MS, Recounted, recount
from services.metrics.audit.results import numbers_of, offsets_of, summarised


@dataclass(frozen=True, slots=True)
class ResultAudit:
    """The latest result's part of an audit."""

    compared: Comparison = field(default_factory=Comparison)
    offsets: Offsets | None = None
    """What the result covers; None when none was compared."""
    why_not: str = ""
    """Why none was compared."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was compared, and what came out."""

    experiment: Experiment
    offsets: Offsets
    """What the rows cover."""
    read: Mapping[str, int]
    """Records by topic, of all experiments."""
    left_out: Mapping[str, int]
    """Those of them that count for nothing: malformed, or too far from the time of their record."""
    rows: Comparison
    result: ResultAudit
    uncovered: Mapping[int, int]
    """Of partitions that nothing is published of: the records that the log holds."""
    cut: Mapping[TopicPartition, int]
    """Where retention has taken the beginning of the log: when the first record that is left was written. All
    that matters to the experiment is there."""

    @property
    def compared(self) -> Comparison:
        """Return rows and result together."""
        return self.rows + self.result.compared

    @property
    def equal(self) -> bool:
        """Return True when every number is the same to the last digit, whether or not all is covered."""
        return not self.compared.differences


async def audit(
    experiment_id: str, bus: Bus, read_published: ReadPublished, grace_ms: int = GRACE_MS
) -> Audit:
    """Audit one experiment. `grace_ms`: how long clients may take to follow its end, as ingest has it.

    Raises CannotAudit when nobody defined it, nothing is published yet or not all of the log is there that
    matters to it; Retryable when Kafka or the record does not answer.
    """
    # In this order: what a result covers was published before it.
    told = await read_told(bus, experiment_id)
    published = await read_published(experiment_id)
    experiment = newer(published.definition, told.definition)
    if experiment is None:
        raise CannotAudit(
            f"there is no experiment {experiment_id!r}: neither the judge's record nor the topic "
            "`experiments` defines it",
            next_step="correct the id (GET /v1/experiments of assignment lists them)",
        )
    if not any(published.offsets.values()):
        raise CannotAudit(
            "ingest has published nothing yet",
            next_step="start python -m services.metrics ingest and let it read some events",
        )
    why_not = _why_not(told.result, experiment)
    result = None if why_not else told.result
    until = _later(published.offsets, offsets_of(result) if result else {})
    uncovered = await read_uncovered(bus, published.offsets)
    facts = await read_facts(bus, experiment, until)
    recounting = _Recounting(experiment, facts, grace_ms)
    rows = _compare_rows(recounting, published)
    if not rows.numbers:
        raise CannotAudit(
            f"no unit had met {experiment_id} in what ingest has published so far, and no row is about it",
            next_step="send exposures, or wait until ingest has read them",
        )
    about_result = _compare_result(recounting, result) if result else ResultAudit(why_not=why_not)
    return Audit(
        experiment, published.offsets, facts.read, facts.left_out, rows, about_result, uncovered, facts.cut
    )


def _why_not(result: Result | None, experiment: Experiment) -> str:
    if result is None:
        return "the judge has published none yet"
    if result.revision != experiment.revision:
        return (
            f"the latest is of revision {result.revision} and the definition of revision "
            f"{experiment.revision}: audit again when the judge has published one of this revision"
        )
    return ""


def _later(one: Offsets, other: Offsets) -> Offsets:
    return {each: max(one.get(each, 0), other.get(each, 0)) for each in one.keys() | other.keys()}


@dataclass(frozen=True, slots=True)
class _Recounting:
    """What recounts are made of."""

    experiment: Experiment
    facts: Facts
    grace_ms: int

    def of(self, partition: int, until: Offsets) -> Recounted:
        """Recount one partition up to these offsets."""
        facts = self.facts
        exposures_end = until.get(TopicPartition(EXPOSURES, partition), 0)
        conversions_end = until.get(TopicPartition(CONVERSIONS, partition), 0)
        return recount(
            self.experiment,
            (each for each in facts.exposures.get(partition, ()) if each.offset < exposures_end),
            (each for each in facts.conversions.get(partition, ()) if each.offset < conversions_end),
            self.grace_ms,
        )


def _compare_rows(recounting: _Recounting, published: Published) -> Comparison:
    metrics = [metric.name for metric in recounting.experiment.metrics]
    whole = Comparison()
    for partition in sorted({each.partition for each in published.offsets} | published.numbers.keys()):
        expected = recounting.of(partition, published.offsets).expected
        whole += compare(f"partition {partition}", published.of(partition, metrics), expected)
    return whole


def _compare_result(recounting: _Recounting, result: Result) -> ResultAudit:
    offsets = offsets_of(result)
    recounts = (recounting.of(partition, offsets) for partition in {each.partition for each in offsets})
    expected = summarised(recounting.experiment, result, recounts)
    return ResultAudit(compare("result", numbers_of(result), expected), offsets)
