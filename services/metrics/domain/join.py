"""The join of exposures and conversions by unit and event time, in one partition.

It is commutative: any interleaving, repetition or reordering of the same events gives the same tallies,
as long as no limit is reached and exposures come within the declared lateness (`limits.py`).

* The first exposure of a unit to a variant is the earliest; of two in the same millisecond, the one whose
  event id has the smaller hash.
* A unit seen in two variants of one experiment is counted apart and left out of both.
* A conversion counts for a metric from the first exposure's event time to `window_ms` later, both included;
  before, it is part of the covariate. When it arrives does not matter: conversions are kept per unit, wanted
  or not.
* The same event id of the same unit, and for exposures of the same experiment, is the same event; what comes
  first of two that differ is believed.

Events are taken in many at a time, as columns.
"""

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from schemas.hot import Conversion, Exposure
from services.metrics.domain.admission import Admission
from services.metrics.domain.board import Board
from services.metrics.domain.columns import I64, U64, Mask, ranks
from services.metrics.domain.counting import Counting, Happened
from services.metrics.domain.crowds import Crowds
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.enrolling import Enrolling, Met
from services.metrics.domain.exact import micros
from services.metrics.domain.hashing import hash_of, hashes_of, of_experiment, of_unit
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.store import Store
from services.metrics.domain.upkeep import Upkeep

_unit, _event, _time = attrgetter("unit_id"), attrgetter("event_id"), attrgetter("occurred_at_ms")
_variant = attrgetter("experiment_id", "variant")
_name, _value = attrgetter("name"), attrgetter("value")


class Join:
    """Takes events into a store, and keeps the tallies what the store says."""

    def __init__(self, definitions: Definitions, limits: IngestLimits, outcomes: Outcomes) -> None:
        self.store = Store()
        self.board = Board()
        self.counting = Counting(self.store, self.board)
        self.upkeep = Upkeep(self.store, self.board, self.counting, definitions, limits, outcomes)
        self._admission = Admission(self.store, self.board, self.upkeep, limits, outcomes)
        self._enrolling = Enrolling(self.store, self.board, self.counting, self.upkeep)
        self._crowds = Crowds(self.store, self.counting)
        self._limits = limits
        self._outcomes = outcomes

    def expose(self, facts: Sequence[Exposure], stamps_ms: Sequence[int]) -> None:
        """Take in exposures, with the time stamps of their records."""
        if not facts:
            return
        at_ms = np.fromiter(map(_time, facts), np.int64, len(facts))
        seen_ms = np.minimum(at_ms, np.fromiter(stamps_ms, np.int64, len(facts)))
        # What the time of the last of these makes useless must not be missed by the first: twice, then.
        times_ms = int(at_ms.min()), int(at_ms.max())
        self.upkeep.move_clocks(exposed_ms=times_ms[0])
        while facts:
            places = self._admission.variants(list(map(_variant, facts)))
            taken = len(places)
            self._expose(facts[:taken], (at_ms[:taken], seen_ms[:taken]), np.array(places))
            facts, at_ms, seen_ms = facts[taken:], at_ms[taken:], seen_ms[taken:]
        self.upkeep.move_clocks(exposed_ms=times_ms[1])

    def convert(self, facts: Sequence[Conversion]) -> None:
        """Take in conversions."""
        if not facts:
            return
        at_ms = np.fromiter(map(_time, facts), np.int64, len(facts))
        times_ms = int(at_ms.min()), int(at_ms.max())
        self.upkeep.move_clocks(converted_ms=times_ms[0])
        units = hashes_of(map(_unit, facts))
        rows = self._admission.units(units)
        keys = of_unit(hashes_of(map(_event, facts)), units)
        known = self.store.conversion_index.find(self.store.conversions.key, keys) >= 0
        chosen = self._distinct(keys, known, rows >= 0)
        names = list(map(_name, facts))
        hashes = {name: hash_of(name) for name in set(names)}
        happened = Happened(
            np.fromiter(map(hashes.__getitem__, names), np.uint64, len(names))[chosen],
            at_ms[chosen],
            micros(list(map(_value, facts)))[chosen],
        )
        self._remember(rows[chosen], keys[chosen], happened)
        self.upkeep.move_clocks(converted_ms=times_ms[1])

    def _expose(self, facts: Sequence[Exposure], times: tuple[I64, I64], place: I64) -> None:
        """Take in exposures to these places; NONE: refused already."""
        at_ms, seen_ms = times
        taken = np.flatnonzero(place >= 0)
        late = at_ms[taken] > self.board.columns.closes_ms[place[taken]]
        self._outcomes.after_end += int(late.sum())
        taken = taken[~late]
        if not len(taken):
            return
        if len(taken) < len(facts):
            facts, at_ms, place = [facts[each] for each in taken.tolist()], at_ms[taken], place[taken]
            seen_ms = seen_ms[taken]
        units = hashes_of(map(_unit, facts))
        rows = self._admission.units(units)
        events = hashes_of(map(_event, facts))
        keys = of_experiment(of_unit(events, units), self.board.columns.experiment[place])
        known = self.store.exposure_index.find(self.store.exposures.key, keys) >= 0
        fresh = self._distinct(keys, known, rows >= 0)
        if len(fresh):
            met = Met(facts, fresh, rows[fresh], place[fresh], at_ms[fresh], seen_ms[fresh], events[fresh])
            self._count(met, keys[fresh], self._enrolling.enrol(met))

    def _distinct(self, keys: U64, known: Mask, welcome: Mask) -> I64:
        """Return the places of events that are not known, each once, in order."""
        fresh = np.flatnonzero(~known & welcome)
        _, first = np.unique(keys[fresh], return_index=True)
        first.sort()
        self._outcomes.duplicates += int(welcome.sum()) - len(first)
        return fresh[first]

    def _count(self, met: Met, keys: U64, rows: I64) -> None:
        """Remember and count the exposures for which their enrolments have room."""
        table = self.store.enrolments
        self.counting.note_latest(met.place, met.at_ms)
        self.counting.note_exposed(met.place, met.seen_ms)
        room = table.exposures[rows] + ranks(rows) < self._limits.exposures_per_unit
        self._outcomes.over_exposures += len(rows) - int(room.sum())
        rows = rows[room]
        np.add.at(table.exposures, rows, 1)
        self.counting.count_exposures(met.place[room], met.at_ms[room])
        added = self.store.exposures.extend(len(rows))
        self.store.exposures.key[added], self.store.exposures.enrolment[added] = keys[room], rows
        self.store.exposure_index.add(self.store.exposures.key, added)

    def _remember(self, units: I64, keys: U64, happened: Happened) -> None:
        """Remember and count conversions; those of units that have too many go another way."""
        room = self.store.units.conversions[units] + ranks(units) < self._limits.conversions_per_unit
        within = np.flatnonzero(room)
        self.counting.credit(units[within], happened.only(within), 1)
        rows = self.store.add_conversions(units[within], keys[within])
        log = self.store.conversions
        log.name[rows], log.at_ms[rows] = happened.name[within], happened.at_ms[within]
        log.micro[rows] = happened.micro[within]
        beyond = np.flatnonzero(~room)
        self._outcomes.over_conversions += len(beyond)
        if len(beyond):
            self._crowds.offer(units[beyond], keys[beyond], happened.only(beyond))
