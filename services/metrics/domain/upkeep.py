"""Keeps a partition within its limits: what is useless is forgotten, what is new gets room or is refused."""

from collections.abc import Iterable, Mapping

import numpy as np

from services.metrics.domain.board import Board
from services.metrics.domain.clocks import Clocks
from services.metrics.domain.columns import I64, Mask
from services.metrics.domain.counting import Counting
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.limits import MAX_WINDOW_MS, IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.segments import Attribute, segment_of
from services.metrics.domain.store import Store, key_of
from services.metrics.domain.tables import CROSSED
from services.metrics.domain.tallies import ExperimentTally

_AT_ONCE = 65_536
"""Conversions whose enrolments are looked at together: their pairs must fit into memory."""


class Upkeep:
    """What depends on the clocks of a partition and on the definitions."""

    def __init__(  # noqa: PLR0913
        self,
        store: Store,
        board: Board,
        counting: Counting,
        definitions: Definitions,
        limits: IngestLimits,
        outcomes: Outcomes,
    ) -> None:
        self._store = store
        self._board = board
        self._counting = counting
        self._definitions = definitions
        self._limits = limits
        self._outcomes = outcomes
        self._adopted_version = -1
        self.clocks = Clocks()
        self.swept_at_ms = 0
        self._pressed_at_ms = 0
        self._waiting = 0

    @property
    def is_crowded(self) -> bool:
        """Return True when a new experiment needs the room of others."""
        return len(self._board.tallies) >= self._limits.experiments

    def count_waiting(self) -> None:
        """Count what waits for a definition, after a snapshot was read."""
        self._waiting = sum(len(tally.waiting) for tally in self._board.tallies.values())

    def move_clocks(self, *, exposed_ms: int = 0, converted_ms: int = 0) -> None:
        """Note the event times of what has been taken in, and sweep when it is time to: when the clock of
        exposures has moved on by a quarter of the lateness."""
        self.clocks.expose(exposed_ms)
        self.clocks.convert(converted_ms)
        self._sweep_when_due()

    def mark(self) -> None:
        """Forget by the time of the last mark: all that the log held then has been taken in."""
        self.clocks.mark()
        self._sweep_when_due()

    def _sweep_when_due(self) -> None:
        if self.clocks.exposures_ms - self.swept_at_ms > self._limits.lateness_ms // 4:
            self.sweep()

    def sweep(self) -> None:
        """Forget what is older than the lateness and the longest look-back, and can count for nothing any
        more: experiments whose windows are over, conversions of units that were never exposed, and of exposed
        ones those before every look-back or beyond the longest window that a definition may have.

        No row changes, as long as exposures and conversions come within the lateness.
        """
        self.swept_at_ms = self.clocks.exposures_ms
        enrolments = self._without(self._drop_ended())
        look_back_ms = max(self._limits.look_back_ms, self._definitions.look_back_ms)
        oldest_ms = self.clocks.exposures_ms - self._limits.lateness_ms - look_back_ms
        self._compact(enrolments, self._wanted(oldest_ms, enrolments))

    def adopt_definitions(self) -> None:
        """Recount the experiments whose plan is new or has changed; nothing to do is the usual case."""
        if self._adopted_version == self._definitions.version:
            return
        self._adopted_version = self._definitions.version
        stale = {}
        for key, tally in self._board.tallies.items():
            self._note_life(tally)
            if self._definitions.plan(key) != tally.plan:
                stale[key] = tally
        if stale:
            self._recount(stale)
        for tally in self._board.tallies.values():
            if tally.known and tally.waiting:
                self._waiting -= len(tally.waiting)
                tally.waiting = {}

    def new_tally(self, experiment_id: str) -> ExperimentTally | None:
        """Return the tally of an experiment that is new here; None for one that ended long ago, and when the
        limit is reached."""
        closes_ms = self._definitions.closes_ms(experiment_id, self._limits.lateness_ms)
        if closes_ms is not None and self._is_over(experiment_id, closes_ms):
            self._outcomes.after_end += 1
            return None
        if self.is_crowded:
            self._evict_unknown()
        if self.is_crowded:
            self._outcomes.over_experiments += 1
            return None
        tally = ExperimentTally(experiment_id, self._definitions.plan(experiment_id))
        self._board.tallies[experiment_id] = tally
        self._note_life(tally)
        tally.changed = True
        return tally

    def make_room_for_units(self) -> None:
        """Where exposures are rare or there are none, conversions tell the time too; only at the limit."""
        newest_ms = self.clocks.newest_ms
        if newest_ms - self._pressed_at_ms > self._limits.lateness_ms // 4:
            self._pressed_at_ms = newest_ms
            store, oldest_ms = self._store, newest_ms - self._limits.lateness_ms
            enrolled = store.units.enrolment[store.conversions.unit[: store.conversions.n]] >= 0
            recent = store.conversions.at_ms[: store.conversions.n] >= oldest_ms
            self._compact(self._without([]), enrolled | recent)

    def late_units(self, tally: ExperimentTally) -> dict[int, int]:
        """Return by place how many units met the variant for the first time after the experiment's end and
        the grace; nothing while it lives. Walks all enrolments: experiments that have ended change seldom."""
        ended_ms = self._definitions.ended_ms(tally.experiment_id)
        if ended_ms is None:
            return {}
        table, places = self._store.enrolments, self._board.places_of(tally)
        late = table.place[np.flatnonzero(table.at_ms[: table.n] > ended_ms + self._limits.leak_grace_ms)]
        found, counts = np.unique(late[np.isin(late, places)], return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))

    def wait_for_definition(
        self, tally: ExperimentTally, unit: int, attributes: Mapping[str, Attribute]
    ) -> None:
        """Remember the attributes of a unit's first exposure until somebody says which of them matter. At the
        limit they count as missing."""
        if not attributes:
            self._waiting -= tally.waiting.pop(unit, None) is not None
        elif unit in tally.waiting or self._waiting < self._limits.waiting_units:
            self._waiting += unit not in tally.waiting
            tally.waiting[unit] = dict(attributes)

    def _note_life(self, tally: ExperimentTally) -> None:
        tally.known = self._definitions.knows(tally.experiment_id)
        closes_ms = self._definitions.closes_ms(tally.experiment_id, self._limits.lateness_ms)
        # What came too late depends on the end: it is published anew.
        tally.changed |= closes_ms != tally.closes_ms
        tally.closes_ms = closes_ms
        self._board.stale()

    def _is_over(self, experiment_id: str, closes_ms: int) -> bool:
        """Return True when nothing that is within the lateness can change the experiment's tallies."""
        longest_ms = self._definitions.plan(experiment_id).longest_ms
        return self.clocks.all_ms > closes_ms + longest_ms + self._limits.lateness_ms

    def _drop_ended(self) -> list[int]:
        """Drop experiments that are over and published; return the places that they had."""
        over = [
            key
            for key, tally in self._board.tallies.items()
            if tally.closes_ms is not None and not tally.changed and self._is_over(key, tally.closes_ms)
        ]
        self._outcomes.dropped_experiments += len(over)
        return self._drop(over)

    def _evict_unknown(self) -> None:
        """Forget the older half of the experiments that nobody defined: half, as it walks all units."""
        unknown = [each for each in self._board.tallies.values() if not each.known]
        unknown.sort(key=lambda each: (each.latest_ms, each.experiment_id))
        evicted = [each.experiment_id for each in unknown[: (len(unknown) + 1) // 2]]
        self._outcomes.evicted_experiments += len(evicted)
        self._compact(self._without(self._drop(evicted)), np.ones(self._store.conversions.n, bool))

    def _drop(self, keys: Iterable[str]) -> list[int]:
        places: list[int] = []
        for key in keys:
            tally = self._board.drop(key)
            self._waiting -= len(tally.waiting)
            places += self._board.places_of(tally)
        return places

    def _without(self, places: list[int]) -> Mask:
        """Mark the enrolments in other places."""
        table = self._store.enrolments
        return ~np.isin(table.place[: table.n], places) if places else np.ones(table.n, bool)

    def _wanted(self, oldest_ms: int, enrolments: Mask) -> Mask:
        """Mark the conversions since `oldest_ms`, and those that one of these enrolments may count.

        One that is forgotten and comes again is stored again, counts for nothing again, and leaves at the
        next sweep."""
        log, table = self._store.conversions, self._store.enrolments
        wanted = log.at_ms[: log.n] >= oldest_ms
        old = np.flatnonzero(~wanted)
        for start in range(0, len(old), _AT_ONCE):
            part = old[start : start + _AT_ONCE]
            who, rows = self._store.enrolments_of(log.unit[part])
            apart_ms = np.abs(log.at_ms[part[who]] - table.at_ms[rows])
            counts = enrolments[rows] & (table.segment[rows] != CROSSED) & (apart_ms <= MAX_WINDOW_MS)
            wanted[part[who[counts]]] = True
        return wanted

    def _compact(self, enrolments: Mask, conversions: Mask) -> None:
        if enrolments.all() and conversions.all():
            return
        table = self._store.enrolments
        metrics = self._board.metrics_of(table.place[: table.n])
        self._outcomes.swept_units += self._store.compact(enrolments, conversions, metrics)

    def _recount(self, stale: Mapping[str, ExperimentTally]) -> None:
        again = []
        for key, tally in stale.items():
            plan = self._definitions.plan(key)
            if tally.plan.breakdowns != plan.breakdowns:
                again.append(tally)
            tally.adopt(plan)
            tally.changed = True
        self._board.stale()
        places = [place for tally in stale.values() for place in self._board.places_of(tally)]
        rows = np.flatnonzero(~self._without(places))
        table = self._store.enrolments
        self._store.new_values(rows, self._board.metrics_of(table.place[rows]))
        crossed = table.segment[rows] == CROSSED
        self._recount_crossed(rows[crossed])
        for tally in again:
            self._segment_again(tally, rows[~crossed])
        self._counting.settle(rows[~crossed], 1)

    def _recount_crossed(self, rows: I64) -> None:
        table = self._store.enrolments
        units, places = table.unit[rows].tolist(), table.place[rows].tolist()
        homes = self._board.homes
        for _, key in {
            (unit, homes[place].tally.experiment_id) for unit, place in zip(units, places, strict=True)
        }:
            self._board.tallies[key].crossed_units += 1

    def _segment_again(self, tally: ExperimentTally, rows: I64) -> None:
        """Put an experiment's units where the attributes that waited say; the others have none."""
        table, breakdowns = self._store.enrolments, tally.plan.breakdowns
        places = self._board.places_of(tally)
        mine = rows[np.isin(table.place[rows], places)]
        table.segment[mine] = segment_of(breakdowns, {})
        if not tally.waiting:
            return
        units = self._store.find_units(np.array(list(tally.waiting), np.uint64))
        segments = np.array([segment_of(breakdowns, each) for each in tally.waiting.values()])
        units, segments = units[units >= 0], segments[units >= 0]
        for place in places:
            found = self._store.enrolment_index.find(table.key, key_of(units, np.full(len(units), place)))
            chosen = (found >= 0) & (table.segment[found] != CROSSED)
            table.segment[found[chosen]] = segments[chosen]
