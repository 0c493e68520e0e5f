"""The join of exposures and conversions by unit and event time, in one partition.

It is commutative: any interleaving, repetition or reordering of the same events gives the same tallies,
as long as no limit is reached and exposures come within the declared lateness (`limits.py`).

* The first exposure of a unit to an experiment is the smallest (event time, event id).
* A unit seen in two variants of one experiment is counted apart and left out of both.
* A conversion counts for a metric from the first exposure's event time to `window_ms` later, both included.
  When it arrives does not matter: conversions are kept per unit, wanted or not.
* The same event id of the same unit is the same event; what comes first of two that differ is believed.
"""

from libs.statistics.sums import to_micro
from services.metrics.domain.definitions import Definitions, Plan
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.tallies import ExperimentTally, credit, credit_once
from services.metrics.domain.units import Enrolment, StoredConversion, Unit


class Join:
    """The state of one partition."""

    def __init__(self, definitions: Definitions, limits: IngestLimits, outcomes: Outcomes) -> None:
        self._definitions = definitions
        self._limits = limits
        self._adopted_version = definitions.version
        self._swept_at_ms = 0
        self._pressed_at_ms = 0
        self.units: dict[str, Unit] = {}
        self.tallies: dict[str, ExperimentTally] = {}
        self.changed: set[str] = set()
        """Experiments whose tallies changed since the caller last cleared this."""
        self.exposed_until_ms = 0
        """The latest event time of any exposure: the clock of `sweep`."""
        self.newest_ms = 0
        """The latest event time of anything."""
        self.outcomes = outcomes

    def expose(self, unit_id: str, experiment_id: str, variant: str, at_ms: int, event_id: str) -> None:
        """Take in an exposure. Whether there is room for it or not, time goes on, and may make room."""
        self._move_clock(at_ms)
        unit = self.units.get(unit_id)
        if unit is not None:
            enrolment = unit.enrolments.get(experiment_id)
            if enrolment is not None and enrolment.knows(event_id):
                self.outcomes.duplicates += 1
                return
        tally = self.tallies.get(experiment_id) or self._new_tally(experiment_id)
        if tally is None:
            return
        home = tally.variant(variant, self._limits.variants)
        if home is None:
            self.outcomes.over_variants += 1
            return
        if unit is None and (unit := self._new_unit(unit_id)) is None:
            return
        self._see(tally, unit, Enrolment(at_ms, event_id, home))

    def convert(self, unit_id: str, name: str, value: float, at_ms: int, event_id: str) -> None:
        """Take in a conversion."""
        if at_ms > self.newest_ms:
            self.newest_ms = at_ms
        unit = self.units.get(unit_id) or self._new_unit(unit_id)
        if unit is None:
            return
        if unit.conversions is None:
            unit.conversions = {}
        if event_id in unit.conversions:
            self.outcomes.duplicates += 1
            return
        if at_ms > unit.latest_ms:
            unit.latest_ms = at_ms
        conversion = StoredConversion(at_ms, name, to_micro(value))
        kept = len(unit.conversions) < self._limits.conversions_per_unit or self._make_room(
            unit, unit.conversions, (at_ms, event_id)
        )
        if kept:
            unit.conversions[event_id] = conversion
        for experiment_id, enrolment in unit.enrolments.items():
            tally = self.tallies[experiment_id]
            if at_ms > tally.latest_ms:
                tally.latest_ms = at_ms
                self.changed.add(experiment_id)
            if kept and not enrolment.crossed:
                self._attribute(tally, enrolment, conversion, 1)

    def adopt_definitions(self) -> None:
        """Recount the experiments whose plan is new or has changed; nothing to do is the usual case."""
        if self._adopted_version == self._definitions.version:
            return
        self._adopted_version = self._definitions.version
        stale: dict[str, Plan] = {}
        for key, tally in self.tallies.items():
            plan = self._definitions.plan(key)
            if plan != tally.plan:
                stale[key] = plan
        if stale:
            self._recount(stale)

    def enrol(self, unit: Unit, tally: ExperimentTally, enrolment: Enrolment) -> None:
        """Count a unit into an experiment that it was not in. Its exposures are counted by the caller."""
        key = tally.experiment_id
        unit.enrolments[key] = enrolment
        tally.latest_ms = max(tally.latest_ms, enrolment.at_ms, unit.latest_ms)
        self.changed.add(key)
        if enrolment.crossed:
            tally.crossed_units += 1
        else:
            enrolment.home.units += 1
            self._attribute_all(tally, unit, enrolment, 1)

    def let_in(self, experiment_id: str) -> ExperimentTally:
        """Return the tally of an experiment that is new here, or that a dump held."""
        tally = ExperimentTally(experiment_id, self._definitions.plan(experiment_id))
        self.tallies[experiment_id] = tally
        self.changed.add(experiment_id)
        return tally

    def sweep(self) -> None:
        """Forget what is older than the lateness and can count for nothing any more: the conversions of units
        that were never exposed, and of exposed ones those before every first exposure or beyond the longest
        window that a definition may have.

        No row changes, as long as exposures come within the lateness. Their time is the clock: conversions
        may be read days ahead of the exposures that they belong to, when both are read from the beginning.
        """
        self._swept_at_ms = self.exposed_until_ms
        oldest_ms = self.exposed_until_ms - self._limits.lateness_ms
        self._forget_idle(oldest_ms)
        for unit in self.units.values():
            if unit.conversions:
                unit.forget_useless(oldest_ms)

    def _move_clock(self, at_ms: int) -> None:
        if at_ms > self.newest_ms:
            self.newest_ms = at_ms
        if at_ms > self.exposed_until_ms:
            self.exposed_until_ms = at_ms
            if at_ms - self._swept_at_ms > self._limits.lateness_ms // 4:
                self.sweep()

    def _forget_idle(self, oldest_ms: int) -> None:
        idle = [key for key, unit in self.units.items() if not unit.enrolments and unit.latest_ms < oldest_ms]
        for key in idle:
            del self.units[key]
        self.outcomes.swept_units += len(idle)

    def _new_unit(self, unit_id: str) -> Unit | None:
        if len(self.units) >= self._limits.units:
            self._make_room_for_units()
        if len(self.units) >= self._limits.units:
            self.outcomes.over_units += 1
            return None
        unit = self.units[unit_id] = Unit()
        return unit

    def _make_room_for_units(self) -> None:
        """Where exposures are rare or there are none, conversions tell the time too; only at the limit."""
        if self.newest_ms - self._pressed_at_ms > self._limits.lateness_ms // 4:
            self._pressed_at_ms = self.newest_ms
            self._forget_idle(self.newest_ms - self._limits.lateness_ms)

    def _new_tally(self, experiment_id: str) -> ExperimentTally | None:
        if len(self.tallies) >= self._limits.experiments:
            self._evict_unknown()
        if len(self.tallies) >= self._limits.experiments:
            self.outcomes.over_experiments += 1
            return None
        return self.let_in(experiment_id)

    def _evict_unknown(self) -> None:
        """Forget the older half of the experiments that nobody defined: half, as it walks all units."""
        unknown = [each for each in self.tallies.values() if not self._definitions.knows(each.experiment_id)]
        unknown.sort(key=lambda each: (each.latest_ms, each.experiment_id))
        evicted = {each.experiment_id for each in unknown[: (len(unknown) + 1) // 2]}
        if not evicted:
            return
        for key in evicted:
            del self.tallies[key]
        self.changed -= evicted
        for unit in self.units.values():
            for key in evicted & unit.enrolments.keys():
                del unit.enrolments[key]
        self.outcomes.evicted_experiments += len(evicted)

    def _see(self, tally: ExperimentTally, unit: Unit, seen: Enrolment) -> None:
        """Take in an exposure, given as the enrolment that it would be if it were the first."""
        known = unit.enrolments.get(tally.experiment_id)
        if known is None:
            seen.home.exposures += 1
            self.enrol(unit, tally, seen)
            return
        self.changed.add(tally.experiment_id)
        tally.latest_ms = max(tally.latest_ms, seen.at_ms)
        if not known.crossed and seen.home is not known.home:
            self._leave(tally, unit, known)
            known.crossed = True
            tally.crossed_units += 1
        later_id = seen.first_id
        if (seen.at_ms, seen.first_id) < (known.at_ms, known.first_id):
            later_id, known.first_id = known.first_id, seen.first_id
            self._move_first(tally, unit, known, seen)
        if known.remember(later_id, self._limits.exposures_per_unit):
            seen.home.exposures += 1
        else:
            self.outcomes.over_exposures += 1

    def _move_first(self, tally: ExperimentTally, unit: Unit, known: Enrolment, seen: Enrolment) -> None:
        if known.crossed or seen.at_ms == known.at_ms:
            known.at_ms, known.home = seen.at_ms, seen.home
            return
        self._leave(tally, unit, known)
        known.at_ms, known.home = seen.at_ms, seen.home
        known.home.units += 1
        self._attribute_all(tally, unit, known, 1)

    def _leave(self, tally: ExperimentTally, unit: Unit, enrolment: Enrolment) -> None:
        self._attribute_all(tally, unit, enrolment, -1)
        enrolment.values = None
        enrolment.home.units -= 1

    def _attribute_all(self, tally: ExperimentTally, unit: Unit, enrolment: Enrolment, sign: int) -> None:
        if unit.conversions and tally.routes:
            for conversion in unit.conversions.values():
                self._attribute(tally, enrolment, conversion, sign)

    def _attribute(
        self, tally: ExperimentTally, enrolment: Enrolment, conversion: StoredConversion, sign: int
    ) -> None:
        """Count a conversion of a unit in the sample in (1) or out (-1), for every metric that wants it."""
        routes = tally.routes.get(conversion.name)
        elapsed_ms = conversion.at_ms - enrolment.at_ms
        if routes is None or elapsed_ms < 0:
            return
        home, counted = enrolment.home, False
        for index, window_ms, proportion in routes:
            if elapsed_ms > window_ms:
                continue
            counted = True
            if enrolment.values is None:
                enrolment.values = [0] * (2 * len(tally.plan))
            if proportion:
                credit_once(home.metrics[index], enrolment.values, index, sign)
            else:
                credit(home.metrics[index], enrolment.values, index, sign, conversion.micro)
        if counted:
            home.conversions += sign
            self.changed.add(tally.experiment_id)

    def _make_room(self, unit: Unit, kept: dict[str, StoredConversion], place: tuple[int, str]) -> bool:
        """Let the last conversion of a full unit go when `place` lies before it; else refuse the newcomer."""
        self.outcomes.over_conversions += 1
        if unit.ceiling is None:
            unit.ceiling = max((each.at_ms, key) for key, each in kept.items())
        if place > unit.ceiling:
            return False
        leaving = kept.pop(unit.ceiling[1])
        for experiment_id, enrolment in unit.enrolments.items():
            if not enrolment.crossed:
                self._attribute(self.tallies[experiment_id], enrolment, leaving, -1)
        unit.ceiling = max(max((each.at_ms, key) for key, each in kept.items()), place)
        return True

    def _recount(self, stale: dict[str, Plan]) -> None:
        for key, plan in stale.items():
            self.tallies[key].adopt(plan)
            self.changed.add(key)
        for unit in self.units.values():
            for key in stale.keys() & unit.enrolments.keys():
                enrolment = unit.enrolments[key]
                enrolment.values = None
                if not enrolment.crossed:
                    self._attribute_all(self.tallies[key], unit, enrolment, 1)
