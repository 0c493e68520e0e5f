"""One partition of the line: records in, rows out (the port is `libs.common.partitions.ports`)."""

from collections.abc import Sequence

from libs.common.bus.ports import Record
from libs.common.partitions.ports import Rejected
from schemas.hot import AnyHotFact, Conversion, Exposure, decode_batch
from schemas.names import MAX_AHEAD_MS
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.dumps import dump_join, load_join
from services.metrics.domain.join import Join
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.rows import PartitionRows, row_of

TOO_FAR_AHEAD = "occurred_at_ms: lies more than a day after the record; are these milliseconds?"


class MetricsPartition:
    """The state of one partition of `exposures` and `conversions`.

    Same records, same state. The definitions that the process has read decide which metrics its rows hold,
    and nothing of what it remembers: rows are those of the latest definition, whenever it came.
    """

    def __init__(
        self, definitions: Definitions, limits: IngestLimits, outcomes: Outcomes, dump: bytes | None
    ) -> None:
        self._join = Join(definitions, limits, outcomes)
        if dump is not None:
            load_join(self._join, dump)

    @property
    def units(self) -> int:
        """Return the number of units in memory."""
        return len(self._join.units)

    def fold(self, topic: str, records: Sequence[Record]) -> list[Rejected]:
        """Take in records of one topic, in offset order. Returns those that are poison; raises nothing.

        An event more than a day ahead of its record's own time stamp is poison: judged by the record, not
        by the machine's clock, so that a replay judges alike.
        """
        self._join.adopt_definitions()
        newest_ms = max((record.timestamp_ms for record in records), default=0)
        facts = decode_batch(topic, [record.value for record in records], newest_ms)
        rejected: list[Rejected] = []
        for record, fact in zip(records, facts, strict=True):
            if isinstance(fact, str):
                rejected.append(Rejected(record, fact))
            elif fact.occurred_at_ms > record.timestamp_ms + MAX_AHEAD_MS:
                rejected.append(Rejected(record, TOO_FAR_AHEAD))
            else:
                self._take(fact)
        return rejected

    def _take(self, fact: AnyHotFact) -> None:
        if isinstance(fact, Exposure):
            self._join.expose(
                fact.unit_id, fact.experiment_id, fact.variant, fact.occurred_at_ms, fact.event_id
            )
        elif isinstance(fact, Conversion):
            self._join.convert(fact.unit_id, fact.name, fact.value, fact.occurred_at_ms, fact.event_id)

    def changed(self) -> bool:
        """Return True when an event or a definition changed any experiment since the last rows."""
        self._join.adopt_definitions()
        return bool(self._join.changed)

    def rows(self) -> PartitionRows:
        """Return absolute values of every experiment that changed since the last call."""
        self._join.adopt_definitions()
        changed = sorted(self._join.changed)
        self._join.changed.clear()
        return tuple(row_of(self._join.tallies[key]) for key in changed)

    def dump(self) -> bytes:
        """Return everything, for a snapshot."""
        return dump_join(self._join)


class MetricsPartitions:
    """Makes the state of a partition, empty or from a dump; all share the definitions of the process."""

    def __init__(self, definitions: Definitions, limits: IngestLimits | None = None) -> None:
        self._definitions = definitions
        self._limits = limits or IngestLimits()
        self.outcomes = Outcomes()

    def __call__(self, partition: int, dump: bytes | None) -> MetricsPartition:
        """Return the state. Raises Misconfigured for a dump that this version cannot read."""
        return MetricsPartition(self._definitions, self._limits, self.outcomes, dump)
