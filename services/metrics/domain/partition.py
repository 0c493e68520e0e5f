"""One partition of the line: records in, rows out (the port is `libs.common.partitions.ports`)."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, sub
from typing import TypeAlias, cast

from libs.common.bus.batches import Batch
from libs.common.partitions.ports import Rejected
from schemas.hot import AnyHotFact, Conversion, Exposure, sort_batch, without
from schemas.names import MAX_AHEAD_MS, MAX_BEHIND_MS
from services.metrics.domain.chunks import Chunks, Scratch
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.dumps import dump_join, load_join
from services.metrics.domain.join import Join
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.rows import PartitionRows, row_of

_Near: TypeAlias = tuple[Sequence[AnyHotFact], Sequence[int]]
"""Facts, and the time stamps of their records."""
_time: Callable[[AnyHotFact], int] = attrgetter("occurred_at_ms")

TOO_FAR_AHEAD = "occurred_at_ms: lies more than a day after the record; are these milliseconds?"


class MetricsPartition:
    """The state of one partition of `exposures` and `conversions`.

    Same records, same state. The definitions that the process has read decide which metrics its rows hold,
    and nothing of what it remembers: rows are those of the latest definition, whenever it came.
    """

    def __init__(
        self,
        definitions: Definitions,
        limits: IngestLimits,
        outcomes: Outcomes,
        scratch: Scratch,
    ) -> None:
        self._join = Join(definitions, limits, outcomes)
        self._scratch = scratch
        self._outcomes = outcomes

    def load(self, dump: Iterable[bytes]) -> None:
        """Become what was dumped; only while empty. Raises Misconfigured when this version cannot read it."""
        load_join(self._join, dump)
        size = self._join.store.nbytes
        while self._scratch.reserve(size):
            continue

    @property
    def units(self) -> int:
        """Return the number of units in memory."""
        return self._join.store.units.n

    def fold(self, topic: str, batch: Batch) -> list[Rejected]:
        """Take in records of one topic, in offset order. Returns those that are poison; raises nothing.

        An event more than a day ahead of its record's own time stamp is poison, one more than a year behind
        it counts for nothing: judged by the record, not by the machine's clock, so that a replay judges
        alike.
        """
        if not batch:
            return []
        self._join.upkeep.adopt_definitions()
        stamps = batch.timestamps_ms
        found = sort_batch(topic, batch.values, max(stamps))
        places = [place for place, _ in found.refused]
        rejected = [Rejected(batch[place], reason) for place, reason in found.refused]
        near: _Near = found.facts, without(stamps, places)
        if found.facts and not _all_near(*near):
            near, far = self._sort_out(*near)
            rejected += [Rejected(batch[place], TOO_FAR_AHEAD) for place in found.places(far)]
        self._take(topic, *near)
        self._scratch.reserve(self._join.store.nbytes)
        return rejected

    def _sort_out(self, facts: Sequence[AnyHotFact], stamps_ms: Sequence[int]) -> tuple[_Near, list[int]]:
        """Return the facts that are near their stamps, with these, and the rows of those too far ahead."""
        apart_ms = list(map(sub, map(_time, facts), stamps_ms))
        ahead = [row for row, ms in enumerate(apart_ms) if ms > MAX_AHEAD_MS]
        behind = [row for row, ms in enumerate(apart_ms) if ms < -MAX_BEHIND_MS]
        self._outcomes.too_old += len(behind)
        far = sorted(ahead + behind)
        return (without(facts, far), without(stamps_ms, far)), ahead

    def _take(self, topic: str, facts: Sequence[AnyHotFact], stamps_ms: Sequence[int]) -> None:
        if topic == "exposures":
            self._join.expose(cast("Sequence[Exposure]", facts), stamps_ms)
        else:
            self._join.convert(cast("Sequence[Conversion]", facts))

    def changed(self) -> bool:
        """Return True when an event or a definition changed any experiment since the last rows."""
        self._join.upkeep.adopt_definitions()
        return any(tally.changed and tally.known for tally in self._join.board.tallies.values())

    def rows(self) -> PartitionRows:
        """Return absolute values of every experiment that changed since the last call. One that nobody has
        defined is kept back till somebody does: made-up names shall not fill the tables."""
        self._join.upkeep.adopt_definitions()
        tallies = self._join.board.tallies
        changed = [tallies[key] for key in sorted(tallies) if tallies[key].changed and tallies[key].known]
        for tally in changed:
            tally.changed = False
        return tuple(row_of(tally, self._join.upkeep.late_units(tally)) for tally in changed)

    def mark(self) -> None:
        """Forget what can count for nothing any more, by the time of the last mark."""
        self._join.upkeep.adopt_definitions()
        self._join.upkeep.mark()

    def dump(self) -> Chunks:
        """Return everything as it is now, for a snapshot, in chunks that are made as they are asked for."""
        return dump_join(self._join, self._scratch)


def _all_near(facts: Sequence[AnyHotFact], stamps_ms: Sequence[int]) -> bool:
    """Return True when no event can lie too far from the stamp of its record, whichever that is."""
    times_ms = list(map(_time, facts))
    latest_ms, earliest_ms = min(stamps_ms) + MAX_AHEAD_MS, max(stamps_ms) - MAX_BEHIND_MS
    return max(times_ms) <= latest_ms and min(times_ms) >= earliest_ms


class MetricsPartitions:
    """Makes the state of a partition, empty or from a dump; all share the definitions of the process."""

    def __init__(self, definitions: Definitions, limits: IngestLimits | None = None) -> None:
        self._definitions = definitions
        self._limits = limits or IngestLimits()
        self.outcomes = Outcomes()
        self._scratch = Scratch()

    def __call__(self, partition: int, dump: Iterable[bytes] | None) -> MetricsPartition:
        """Return the state. Raises Misconfigured for a dump that this version cannot read."""
        made = MetricsPartition(self._definitions, self._limits, self.outcomes, self._scratch)
        if dump is not None:
            made.load(dump)
        return made
