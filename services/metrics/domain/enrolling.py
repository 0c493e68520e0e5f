"""Enrols units in variants: at their first exposure, and again when an earlier one comes to light."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.hot import Exposure
from services.metrics.domain.board import Board
from services.metrics.domain.columns import I64, U64, Mask
from services.metrics.domain.counting import Counting
from services.metrics.domain.segments import segment_of
from services.metrics.domain.store import Store, key_of
from services.metrics.domain.tables import CROSSED
from services.metrics.domain.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Met:
    """Exposures that were not seen before, as columns."""

    facts: Sequence[Exposure]
    fact: I64
    """Which of the facts each is."""
    unit: I64
    place: I64
    at_ms: I64
    seen_ms: I64
    """`at_ms`, or when the record was written where that is earlier."""
    event: U64
    """Hash of the event's id."""


class Enrolling:
    """Keeps the enrolments of a store."""

    def __init__(self, store: Store, board: Board, counting: Counting, upkeep: Upkeep) -> None:
        self._store = store
        self._board = board
        self._counting = counting
        self._upkeep = upkeep

    def enrol(self, met: Met) -> I64:
        """Take first exposures from these, and return the enrolment that each belongs to."""
        old = self._store.enrolments.n
        rows = self._rows(met)
        firsts = self._firsts(met, rows, old)
        if len(firsts):
            left = rows[firsts]
            left = left[left < old]
            self._leave(left)
            self._note_first(met, rows, firsts)
            added = np.arange(old, self._store.enrolments.n)
            self._cross(added, left)
            chosen, segment = rows[firsts], self._store.enrolments.segment
            self._counting.settle(chosen[segment[chosen] != CROSSED], 1)
            self._counting.note_conversions(added[segment[added] == CROSSED])
        return rows

    def _firsts(self, met: Met, rows: I64, old: int) -> I64:
        """Return which exposure is now the first of its enrolment, one each; of most enrolments none is."""
        asked = rows >= old
        known = np.flatnonzero(~asked)
        asked[known] = self._is_earlier(met, rows, known)
        chosen = np.flatnonzero(asked)
        owners = rows[chosen]
        order = np.lexsort((met.event[chosen], met.at_ms[chosen], owners))
        owners = owners[order]
        heads = np.ones(len(order), bool)
        heads[1:] = owners[1:] != owners[:-1]
        return chosen[order[heads]]

    def _rows(self, met: Met) -> I64:
        keys = key_of(met.unit, met.place)
        rows = self._store.enrolment_index.find(self._store.enrolments.key, keys)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            _, first, inverse = np.unique(keys[missing], return_index=True, return_inverse=True)
            chosen = missing[first]
            places = met.place[chosen]
            added = self._store.add_enrolments(met.unit[chosen], places, self._board.metrics_of(places))
            rows[missing] = added[inverse]
        return rows

    def _is_earlier(self, met: Met, rows: I64, firsts: I64) -> Mask:
        table, row = self._store.enrolments, rows[firsts]
        at_ms, known_ms = met.at_ms[firsts], table.at_ms[row]
        earlier: Mask = (at_ms < known_ms) | ((at_ms == known_ms) & (met.event[firsts] < table.first[row]))
        return earlier

    def _leave(self, rows: I64) -> None:
        """Count enrolments out before their first exposure changes."""
        if len(rows):
            self._counting.settle(rows[self._store.enrolments.segment[rows] != CROSSED], -1)

    def _note_first(self, met: Met, rows: I64, firsts: I64) -> None:
        table, row, place = self._store.enrolments, rows[firsts], met.place[firsts]
        table.at_ms[row], table.first[row] = met.at_ms[firsts], met.event[firsts]
        columns = self._board.columns
        special = columns.broken_down[place] | ~columns.known[place]
        for number in np.flatnonzero(special & (table.segment[row] != CROSSED)).tolist():
            tally = self._board.tally_at(int(place[number]))
            attributes = met.facts[int(met.fact[firsts[number]])].attributes or {}
            table.segment[row[number]] = segment_of(tally.plan.breakdowns, attributes)
            if not tally.known:
                unit = int(self._store.units.key[table.unit[row[number]]])
                self._upkeep.wait_for_definition(tally, unit, attributes)

    def _cross(self, added: I64, left: I64) -> None:
        """Mark units whose new enrolments are a second one in an experiment; count out the others, unless
        they have left."""
        table, tallies = self._store.enrolments, self._board.columns.tally
        who, others = self._store.enrolments_of(table.unit[added])
        mine = added[who]
        same = (others != mine) & (tallies[table.place[others]] == tallies[table.place[mine]])
        if not same.any():
            return
        rows = np.unique(np.concatenate([mine[same], others[same]]))
        was = table.segment[rows] == CROSSED
        self._counting.settle(rows[~was & (rows < added[0]) & ~np.isin(rows, left)], -1)
        units_of = list(zip(table.unit[rows].tolist(), tallies[table.place[rows]].tolist(), strict=True))
        before = {each for each, crossed in zip(units_of, was.tolist(), strict=True) if crossed}
        for row, each in zip(rows.tolist(), units_of, strict=True):
            if each not in before:
                before.add(each)
                tally = self._board.tally_at(int(table.place[row]))
                tally.crossed_units += 1
                tally.changed = True
        table.segment[rows] = CROSSED
