"""Keeps a partition within its limits: what is useless is forgotten, what is new gets room or is refused."""

from collections.abc import Callable, Iterable, Mapping

from services.metrics.domain.definitions import Definitions
from services.metrics.domain.limits import MAX_WINDOW_MS, IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.segments import Attribute, segment_of
from services.metrics.domain.store import Store
from services.metrics.domain.tallies import ExperimentTally
from services.metrics.domain.units import CROSSED, Enrolment, Unit

Settle = Callable[[Unit, Enrolment, int], None]


class Upkeep:
    """The clock of a partition, and what depends on it and on the definitions."""

    def __init__(
        self, store: Store, definitions: Definitions, limits: IngestLimits, outcomes: Outcomes, settle: Settle
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._limits = limits
        self._outcomes = outcomes
        self._settle = settle
        self._adopted_version = -1
        self._swept_at_ms = 0
        self._pressed_at_ms = 0
        self._waiting = 0
        self.exposed_until_ms = 0
        """The latest event time of any exposure: the clock of `sweep`."""
        self.newest_ms = 0
        """The latest event time of anything."""

    def resume(self, exposed_until_ms: int, newest_ms: int) -> None:
        """Go on at the times that a snapshot names."""
        self.exposed_until_ms = self._swept_at_ms = exposed_until_ms
        self.newest_ms = newest_ms

    def count_waiting(self) -> None:
        """Count what waits for a definition, after a snapshot was read."""
        self._waiting = sum(len(tally.waiting) for tally in self._store.tallies.values())

    def note_time(self, at_ms: int) -> None:
        """Note the event time of a conversion."""
        self.newest_ms = max(self.newest_ms, at_ms)

    def move_clock(self, at_ms: int) -> None:
        """Note the event time of an exposure, and sweep when it is time to."""
        if at_ms > self.newest_ms:
            self.newest_ms = at_ms
        if at_ms > self.exposed_until_ms:
            self.exposed_until_ms = at_ms
            if at_ms - self._swept_at_ms > self._limits.lateness_ms // 4:
                self.sweep()

    def sweep(self) -> None:
        """Forget what is older than the lateness and the longest look-back, and can count for nothing any
        more: experiments whose windows are over, conversions of units that were never exposed, and of exposed
        ones those before every look-back or beyond the longest window that a definition may have.

        No row changes, as long as exposures come within the lateness. Their time is the clock: conversions
        may be read days ahead of the exposures that they belong to, when both are read from the beginning.
        """
        self._swept_at_ms = self.exposed_until_ms
        self._drop_ended()
        oldest_ms = self.exposed_until_ms - self._limits.lateness_ms - self._definitions.look_back_ms
        self._forget_idle(oldest_ms)
        for unit_id, unit in self._store.units.items():
            if unit.conversions:
                self._forget_useless(unit_id, unit, oldest_ms)

    def adopt_definitions(self) -> None:
        """Recount the experiments whose plan is new or has changed; nothing to do is the usual case."""
        if self._adopted_version == self._definitions.version:
            return
        self._adopted_version = self._definitions.version
        stale = {}
        for key, tally in self._store.tallies.items():
            self._note_life(tally)
            if self._definitions.plan(key) != tally.plan:
                stale[key] = tally
        if stale:
            self._recount(stale)
        for tally in self._store.tallies.values():
            if tally.known and tally.waiting:
                self._waiting -= len(tally.waiting)
                tally.waiting = {}

    def new_unit(self, unit_id: str) -> Unit | None:
        """Return a new unit; None when the limit is reached and nothing makes room."""
        units = self._store.units
        if len(units) >= self._limits.units:
            self._make_room_for_units()
            if len(units) >= self._limits.units:
                self._outcomes.over_units += 1
                return None
        return self._store.new_unit(unit_id)

    def new_tally(self, experiment_id: str) -> ExperimentTally | None:
        """Return the tally of an experiment that is new here; None for one that ended long ago, and when the
        limit is reached."""
        closes_ms = self._definitions.closes_ms(experiment_id, self._limits.lateness_ms)
        if closes_ms is not None and self._is_over(experiment_id, closes_ms):
            self._outcomes.after_end += 1
            return None
        if len(self._store.tallies) >= self._limits.experiments:
            self._evict_unknown()
        if len(self._store.tallies) >= self._limits.experiments:
            self._outcomes.over_experiments += 1
            return None
        tally = ExperimentTally(experiment_id, self._definitions.plan(experiment_id))
        self._store.tallies[experiment_id] = tally
        self._note_life(tally)
        tally.changed = True
        return tally

    def wait_for_definition(
        self, tally: ExperimentTally, unit_id: str, attributes: Mapping[str, Attribute]
    ) -> None:
        """Remember the attributes of a unit's first exposure until somebody says which of them matter. At the
        limit they count as missing."""
        if not attributes:
            self._waiting -= tally.waiting.pop(unit_id, None) is not None
        elif unit_id in tally.waiting or self._waiting < self._limits.waiting_units:
            self._waiting += unit_id not in tally.waiting
            tally.waiting[unit_id] = dict(attributes)

    def _note_life(self, tally: ExperimentTally) -> None:
        tally.known = self._definitions.knows(tally.experiment_id)
        tally.closes_ms = self._definitions.closes_ms(tally.experiment_id, self._limits.lateness_ms)

    def _is_over(self, experiment_id: str, closes_ms: int) -> bool:
        """Return True when nothing that is within the lateness can change the experiment's tallies."""
        longest_ms = self._definitions.plan(experiment_id).longest_ms
        return self.exposed_until_ms > closes_ms + longest_ms + self._limits.lateness_ms

    def _drop_ended(self) -> None:
        over = {
            key
            for key, tally in self._store.tallies.items()
            if tally.closes_ms is not None and not tally.changed and self._is_over(key, tally.closes_ms)
        }
        if over:
            self._forget_experiments(over)
            self._outcomes.dropped_experiments += len(over)

    def _forget_idle(self, oldest_ms: int) -> None:
        store = self._store
        idle = [
            (key, unit)
            for key, unit in store.units.items()
            if not unit.enrolments and unit.latest_ms() < oldest_ms
        ]
        for key, unit in idle:
            store.touch(key, unit)
            del store.units[key]
        self._outcomes.swept_units += len(idle)

    def _forget_useless(self, unit_id: str, unit: Unit, oldest_ms: int) -> None:
        """Drop conversions before `oldest_ms` that no enrolment can count. One that comes again is stored
        again, counts for nothing again, and is dropped at the next sweep."""
        spans = [
            (each.at_ms - MAX_WINDOW_MS, each.at_ms + MAX_WINDOW_MS)
            for each in unit.enrolments
            if each.segment != CROSSED
        ]
        kept, found = [], 0
        for entry in unit.entries():
            found += 1
            at_ms = entry[2]
            if at_ms >= oldest_ms or any(start <= at_ms <= end for start, end in spans):
                kept.append(entry)
        if len(kept) < found:
            self._store.touch(unit_id, unit)
            unit.keep(kept)

    def _make_room_for_units(self) -> None:
        """Where exposures are rare or there are none, conversions tell the time too; only at the limit."""
        if self.newest_ms - self._pressed_at_ms > self._limits.lateness_ms // 4:
            self._pressed_at_ms = self.newest_ms
            self._forget_idle(self.newest_ms - self._limits.lateness_ms)

    def _evict_unknown(self) -> None:
        """Forget the older half of the experiments that nobody defined: half, as it walks all units."""
        unknown = [each for each in self._store.tallies.values() if not each.known]
        unknown.sort(key=lambda each: (each.latest_ms, each.experiment_id))
        evicted = {each.experiment_id for each in unknown[: (len(unknown) + 1) // 2]}
        if evicted:
            self._forget_experiments(evicted)
            self._outcomes.evicted_experiments += len(evicted)

    def _forget_experiments(self, keys: Iterable[str]) -> None:
        store = self._store
        places = set()
        for key in keys:
            tally = store.tallies.pop(key)
            self._waiting -= len(tally.waiting)
            places |= {variant.place for variant in tally.variants.values()}
        for unit_id, unit in store.units.items():
            if any(each.place in places for each in unit.enrolments):
                store.touch(unit_id, unit)
                unit.enrolments = tuple(each for each in unit.enrolments if each.place not in places)
        store.free.extend(sorted(places, reverse=True))

    def _recount(self, stale: Mapping[str, ExperimentTally]) -> None:
        again = set()
        for key, tally in stale.items():
            plan = self._definitions.plan(key)
            if tally.plan.breakdowns != plan.breakdowns:
                again.add(key)
            tally.adopt(plan)
            tally.changed = True
        for unit_id, unit in self._store.units.items():
            crossed = set()
            for enrolment in unit.enrolments:
                tally = self._store.homes[enrolment.place].tally
                if tally.experiment_id not in stale:
                    continue
                if enrolment.segment == CROSSED:
                    crossed.add(tally.experiment_id)
                    continue
                if tally.experiment_id in again:
                    self._store.touch(unit_id, unit)
                    enrolment.segment = segment_of(tally.plan.breakdowns, tally.waiting.get(unit_id, {}))
                self._settle(unit, enrolment, 1)
            for key in crossed:
                stale[key].crossed_units += 1
