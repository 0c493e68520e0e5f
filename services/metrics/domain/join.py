"""The join of exposures and conversions by unit and event time, in one partition.

It is commutative: any interleaving, repetition or reordering of the same events gives the same tallies,
as long as no limit is reached and exposures come within the declared lateness (`limits.py`).

* The first exposure of a unit to a variant is the earliest; of two in the same millisecond, the one whose
  event id has the smaller hash.
* A unit seen in two variants of one experiment is counted apart and left out of both.
* A conversion counts for a metric from the first exposure's event time to `window_ms` later, both included;
  before, it is part of the covariate. When it arrives does not matter: conversions are kept per unit, wanted
  or not.
* The same event id of the same unit is the same event; what comes first of two that differ is believed.
"""

from collections.abc import Sequence

from libs.statistics.sums import MICRO, to_micro
from schemas.hot import Conversion, Exposure
from services.metrics.domain.definitions import Definitions, hash_of
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.segments import segment_of
from services.metrics.domain.store import Store
from services.metrics.domain.tallies import CONVERSIONS, EXPOSURES, UNITS, ExperimentTally, VariantTally
from services.metrics.domain.units import (
    CROSSED,
    DIGEST_BYTES,
    ENTRY_BYTES,
    NOTHING,
    Crowd,
    Enrolment,
    Entry,
    Unit,
    amounts,
    digest_of,
    holds,
    pack_entry,
)
from services.metrics.domain.upkeep import Upkeep

_EMPTY = (0, 0, 0)


class Join:
    """Takes events into a store, and keeps the tallies what the store says."""

    def __init__(self, definitions: Definitions, limits: IngestLimits, outcomes: Outcomes) -> None:
        self.store = Store()
        self.upkeep = Upkeep(self.store, definitions, limits, outcomes, self.settle)
        self._limits = limits
        self._outcomes = outcomes

    def expose(self, facts: Sequence[Exposure]) -> None:
        """Take in exposures. The usual case, one more of a unit to the same variant, is dealt with here."""
        store, outcomes = self.store, self._outcomes
        units, tallies = store.units, store.tallies
        limit = self._limits.exposures_per_unit * DIGEST_BYTES
        for fact in facts:
            tally = tallies.get(fact.experiment_id)
            variant = tally.variants.get(fact.variant) if tally is not None else None
            unit = units.get(fact.unit_id)
            digest = digest_of(fact.event_id.encode())
            if unit is None or variant is None or tally is None:
                self._meet(fact, digest)
                continue
            place, at_ms = variant.place, fact.occurred_at_ms
            for enrolment in unit.enrolments:
                if enrolment.place == place:
                    break
            else:
                self._meet(fact, digest)
                continue
            seen = enrolment.seen
            if digest in seen and holds(seen, digest, DIGEST_BYTES):
                outcomes.duplicates += 1
                continue
            if tally.closes_ms is not None and at_ms > tally.closes_ms:
                outcomes.after_end += 1
                continue
            if unit.saved != store.snapshot:
                store.save(fact.unit_id, unit)
            if at_ms > enrolment.at_ms:
                if len(seen) >= limit:
                    outcomes.over_exposures += 1
                else:
                    enrolment.seen = seen + digest
                    variant.exposures += 1
                    variant.hour(at_ms)[EXPOSURES] += 1
            else:
                self._earlier(fact, digest, unit, enrolment)
            if at_ms > tally.latest_ms:
                tally.latest_ms = at_ms
            tally.changed = True
        if facts:
            self.upkeep.move_clock(max([fact.occurred_at_ms for fact in facts]))

    def convert(self, facts: Sequence[Conversion]) -> None:
        """Take in conversions."""
        store, homes = self.store, self.store.homes
        get = store.units.get
        room = min(self._limits.packed_conversions, self._limits.conversions_per_unit) * ENTRY_BYTES
        for fact in facts:
            digest = digest_of(fact.event_id.encode())
            unit = get(fact.unit_id)
            if unit is None and (unit := self.upkeep.new_unit(fact.unit_id)) is None:
                continue
            log = unit.conversions
            if log.__class__ is not bytes or len(log) >= room:
                self._convert_in_crowd(unit, fact, digest)
                continue
            if digest in log and holds(log, digest, ENTRY_BYTES):
                self._outcomes.duplicates += 1
                continue
            if unit.saved != store.snapshot:
                store.save(fact.unit_id, unit)
            value, at_ms, name = fact.value, fact.occurred_at_ms, hash_of(fact.name)
            micro = int(value) * MICRO if value.is_integer() else to_micro(value)
            for enrolment in unit.enrolments:
                variant = homes[enrolment.place]
                tally = variant.tally
                if at_ms > tally.latest_ms:
                    tally.latest_ms = at_ms
                    tally.changed = True
                if enrolment.segment >= 0 and name in tally.routes:
                    self._credit(unit, enrolment, variant, (digest, name, at_ms, micro), 1)
            unit.conversions = log + pack_entry(digest, name, at_ms, micro)
        if facts:
            self.upkeep.note_time(max([fact.occurred_at_ms for fact in facts]))

    def settle(self, unit: Unit, enrolment: Enrolment, sign: int) -> None:
        """Count a unit, with all its conversions, into its variant (1) or out of it (-1)."""
        variant = self.store.homes[enrolment.place]
        tally = variant.tally
        tally.changed = True
        variant.units += sign
        variant.hour(enrolment.at_ms)[UNITS] += sign
        if tally.plan.breakdowns:
            for cell in variant.cells_of(enrolment.segment):
                cell.units += sign
        if not unit.conversions:
            return
        for index, metric in enumerate(tally.plan.metrics):
            count, total, before, before_total = amounts(unit, metric, enrolment.at_ms)
            full = (count, metric.value(count, total), metric.value(before, before_total))
            if full != _EMPTY:
                variant.move(enrolment.segment, index, *((_EMPTY, full) if sign > 0 else (full, _EMPTY)))
        for _, name, at_ms, _ in unit.entries():
            elapsed_ms = at_ms - enrolment.at_ms
            if any(0 <= elapsed_ms <= metric.window_ms for _, metric in tally.routes.get(name, ())):
                variant.conversions += sign
                variant.hour(at_ms)[CONVERSIONS] += sign

    def _credit(
        self, unit: Unit, enrolment: Enrolment, variant: VariantTally, entry: Entry, sign: int
    ) -> None:
        """Count one conversion, which the unit does not remember (any more), in (1) or out (-1)."""
        _, name, at_ms, micro = entry
        elapsed_ms = at_ms - enrolment.at_ms
        counted = False
        for index, metric in variant.tally.routes[name]:
            if elapsed_ms > metric.window_ms or elapsed_ms < -metric.covariate_window_ms:
                continue
            count, total, before, before_total = (
                amounts(unit, metric, enrolment.at_ms) if unit.conversions else NOTHING
            )
            y = metric.value(count, total) if count else 0
            x = metric.value(before, before_total) if before else 0
            if elapsed_ms >= 0:
                counted = True
                greater = (count + 1, metric.value(count + 1, total + micro), x)
            else:
                greater = (count, y, metric.value(before + 1, before_total + micro))
            lesser = (count, y, x)
            variant.move(enrolment.segment, index, *((lesser, greater) if sign > 0 else (greater, lesser)))
            variant.tally.changed = True
        if counted:
            variant.conversions += sign
            variant.hour(at_ms)[CONVERSIONS] += sign

    def _convert_in_crowd(self, unit: Unit, fact: Conversion, digest: bytes) -> None:
        """Take in a conversion of a unit that has, or is about to have, many."""
        if unit.knows(digest):
            self._outcomes.duplicates += 1
            return
        self.store.touch(fact.unit_id, unit)
        entry = (digest, hash_of(fact.name), fact.occurred_at_ms, to_micro(fact.value))
        for enrolment in unit.enrolments:
            tally = self.store.homes[enrolment.place].tally
            if entry[2] > tally.latest_ms:
                tally.latest_ms = entry[2]
                tally.changed = True
        log = unit.conversions
        if isinstance(log, bytes):
            entries = {digest: (name, at_ms, micro) for digest, name, at_ms, micro in unit.entries()}
            log = unit.conversions = Crowd(entries)
        if len(log.entries) >= self._limits.conversions_per_unit and not self._make_room(unit, log, entry):
            return
        self._credit_all(unit, entry, 1)
        log.entries[digest] = entry[1:]

    def _credit_all(self, unit: Unit, entry: Entry, sign: int) -> None:
        for enrolment in unit.enrolments:
            variant = self.store.homes[enrolment.place]
            if enrolment.segment >= 0 and entry[1] in variant.tally.routes:
                self._credit(unit, enrolment, variant, entry, sign)

    def _make_room(self, unit: Unit, log: Crowd, entry: Entry) -> bool:
        """Let the last conversion of a full unit go when `entry` lies before it; else refuse the newcomer."""
        self._outcomes.over_conversions += 1
        place = (entry[2], entry[0])
        if log.ceiling is None:
            log.ceiling = _latest(log)
        if place > log.ceiling:
            return False
        digest = log.ceiling[1]
        leaving = (digest, *log.entries.pop(digest))
        self._credit_all(unit, leaving, -1)
        log.ceiling = max(_latest(log), place) if log.entries else place
        return True

    def _meet(self, fact: Exposure, digest: bytes) -> None:
        """Take in an exposure of a unit that was not in this variant, or is not known at all. Whether there
        is room for it or not, time goes on, and may make room."""
        self.upkeep.move_clock(fact.occurred_at_ms)
        tally = self.store.tallies.get(fact.experiment_id) or self.upkeep.new_tally(fact.experiment_id)
        if tally is None:
            return
        if tally.closes_ms is not None and fact.occurred_at_ms > tally.closes_ms:
            self._outcomes.after_end += 1
            return
        variant = tally.variants.get(fact.variant)
        if variant is None:
            if len(tally.variants) >= self._limits.variants:
                self._outcomes.over_variants += 1
                return
            variant = self.store.let_in(tally, fact.variant)
        unit = self.store.units.get(fact.unit_id) or self.upkeep.new_unit(fact.unit_id)
        if unit is None:
            return
        self.store.touch(fact.unit_id, unit)
        if not tally.known:
            self.upkeep.wait_for_definition(tally, fact.unit_id, fact.attributes)
        self._enrol(fact, digest, unit, variant)

    def _enrol(self, fact: Exposure, digest: bytes, unit: Unit, variant: VariantTally) -> None:
        tally, at_ms = variant.tally, fact.occurred_at_ms
        segment = segment_of(tally.plan.breakdowns, fact.attributes) if tally.plan.breakdowns else 0
        homes = self.store.homes
        others = [each for each in unit.enrolments if homes[each.place].tally is tally]
        if others and any(holds(each.seen, digest, DIGEST_BYTES) for each in others):
            self._outcomes.duplicates += 1
            return
        if len(others) == 1:
            self.settle(unit, others[0], -1)
            others[0].segment = CROSSED
            tally.crossed_units += 1
        enrolment = Enrolment(variant.place, at_ms, digest, CROSSED if others else segment)
        unit.enrolments = (*unit.enrolments, enrolment)
        if at_ms > tally.latest_ms:
            tally.latest_ms = at_ms
        if unit.conversions:
            tally.latest_ms = max(tally.latest_ms, unit.latest_ms())
        tally.changed = True
        variant.exposures += 1
        variant.hour(at_ms)[EXPOSURES] += 1
        if not others:
            self.settle(unit, enrolment, 1)

    def _earlier(self, fact: Exposure, digest: bytes, unit: Unit, enrolment: Enrolment) -> None:
        """Take in an exposure that may be earlier than the first one known; it was not seen before."""
        variant = self.store.homes[enrolment.place]
        at_ms, seen = fact.occurred_at_ms, enrolment.seen
        first = (at_ms, digest) < (enrolment.at_ms, seen[:DIGEST_BYTES])
        if len(seen) >= self._limits.exposures_per_unit * DIGEST_BYTES:
            self._outcomes.over_exposures += 1
            seen = seen if not first else digest + seen[DIGEST_BYTES:]
        else:
            seen = digest + seen if first else seen + digest
            variant.exposures += 1
            variant.hour(at_ms)[EXPOSURES] += 1
        enrolment.seen = seen
        if first:
            self._move_first(fact, unit, enrolment, variant.tally)

    def _move_first(self, fact: Exposure, unit: Unit, enrolment: Enrolment, tally: ExperimentTally) -> None:
        if enrolment.segment == CROSSED:
            enrolment.at_ms = fact.occurred_at_ms
            return
        self.settle(unit, enrolment, -1)
        enrolment.at_ms = fact.occurred_at_ms
        enrolment.segment = segment_of(tally.plan.breakdowns, fact.attributes)
        if not tally.known:
            self.upkeep.wait_for_definition(tally, fact.unit_id, fact.attributes)
        self.settle(unit, enrolment, 1)


def _latest(log: Crowd) -> tuple[int, bytes]:
    return max((at_ms, digest) for digest, (_, at_ms, _) in log.entries.items())
