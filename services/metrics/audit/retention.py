"""Does the log still hold all that matters to an experiment?

Retention takes the oldest records first. What it took was written before the first record that is left, and
happened at most a day later than it was written. So nothing is missing of an experiment that was created, or
whose earliest covariate begins, at least `LATENESS_MS` (two days, what ingest declares) after that record was
written: its exposures and the conversions that may count all lie behind. (Exposures told before anybody
created the experiment would be missing: then the audit says that numbers differ.)
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from libs.common.bus.ports import Consumer, TopicPartition
from schemas.experiments import Experiment
from services.metrics.audit.errors import CannotAudit
from services.metrics.audit.reading import Offsets, batches
from services.metrics.audit.recompute import LATENESS_MS

Cut = Mapping[TopicPartition, int]
"""Of partitions whose first records are gone: when the first that is left was written."""


async def check_complete(reader: Consumer, wanted: Offsets, since_ms: int) -> Cut:
    """Return what retention has cut without taking anything away that happened from `since_ms` on; `reader`
    stands at the beginning before and after.

    Raises CannotAudit when it may have taken such records, when a partition is not there, or ends before
    `wanted`.
    """
    missing = sorted(wanted.keys() - reader.assignment())
    if missing:
        raise CannotAudit(
            f"{', '.join(map(str, missing))}: published offsets speak of it, and the log does not have it",
            next_step="is this the cluster that ingest reads? Check KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL",
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
    first = await reader.beginning_offsets(frozenset(wanted))
    gone = sorted(each for each in wanted if first[each] > 0)
    written = await _first_stamps(reader, {each: end[each] for each in gone if first[each] < end[each]})
    late = [each for each in gone if each not in written or written[each] + LATENESS_MS > since_ms]
    if late:
        raise CannotAudit(
            "retention has removed the beginning of the log: "
            + "; ".join(
                f"{each} begins at offset {first[each]}, {_left(written.get(each))}" for each in late
            ),
            next_step=f"this experiment needs all that was written since {as_time(since_ms - LATENESS_MS)}. "
            "Audit earlier in its life; for the next one let retention.ms of exposures and conversions "
            "outlast its duration, its longest covariate window and two days",
        )
    return written


def exposures_since_ms(experiment: Experiment) -> int:
    """Return from when on exposures can matter: nobody met the experiment before it was created."""
    return experiment.created_at_ms


def conversions_since_ms(experiment: Experiment) -> int:
    """Return from when on conversions can matter: those of the covariates come before the exposures."""
    longest_ms = max((each.covariate_window_ms for each in experiment.metrics), default=0)
    return experiment.created_at_ms - longest_ms


def as_time(at_ms: int) -> str:
    """Return a time for people, to the second."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _left(written_ms: int | None) -> str:
    return "and no record is left" if written_ms is None else f"written {as_time(written_ms)}"


async def _first_stamps(reader: Consumer, ends: Offsets) -> Cut:
    """Return when the first record of each of these partitions was written, and go back to the beginning."""
    if not ends:
        return {}
    begins = dict(reader.positions())
    found: dict[TopicPartition, int] = {}
    async for fetched in batches(reader, lambda: ends.keys() - found.keys()):
        for partition, records in fetched.items():
            found.setdefault(partition, records[0].timestamp_ms)
    for partition, offset in begins.items():
        await reader.seek(partition, offset)
    return {each: found[each] for each in ends}
