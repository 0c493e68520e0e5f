"""From what is remembered to the tallies: units are counted in and out, with all their conversions.

Every number of a tally is a sum over units or over conversions, so it is moved by what one unit or one
conversion changes. Many are moved at a time: columns of pairs (conversion, enrolment), one metric of the
plans after the other.
"""

from dataclasses import dataclass

import numpy as np

from libs.statistics.quantile_sketch import bins_of
from libs.statistics.sums import MICRO
from schemas.experiments import MetricKind
from services.metrics.domain.board import Board
from services.metrics.domain.columns import I64, U64, Mask, Rows
from services.metrics.domain.exact import (
    LARGE,
    Whole,
    can_add,
    is_large,
    narrowed,
    products_by,
    sums_by,
    widened,
)
from services.metrics.domain.store import Store
from services.metrics.domain.tables import CROSSED
from services.metrics.domain.tallies import CONVERSIONS, EXPOSURES, HOUR_MS, UNITS

_AT_ONCE = 8_192
"""Enrolments that are counted in at a time: their pairs with conversions must fit into memory."""
_SEGMENT_BITS, _METRIC_BITS, _HOUR_BITS, _BIN_BITS = 29, 6, 32, 16
_MIDDLE_BIN = 1 << (_BIN_BITS - 1)
"""Added to a bin, which may be negative, to make it one of so many bits."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Conversions, as columns."""

    name: U64
    at_ms: I64
    micro: Whole

    def only(self, chosen: Rows | list[int]) -> "Happened":
        """Return these of them."""
        return Happened(self.name[chosen], self.at_ms[chosen], self.micro[chosen])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Conversions (places in `Happened`) beside enrolments (rows), as columns."""

    conversion: I64
    enrolment: Rows


@dataclass(frozen=True, slots=True)
class _Worth:
    """What enrolments come to in a metric: whether they converted, y and x; a ratio's x is the sum of its
    denominator."""

    converted: I64
    y: Whole
    x: Whole


class Counting:
    """Moves the tallies of a board."""

    def __init__(self, store: Store, board: Board) -> None:
        self._store = store
        self._board = board

    def credit(self, units: Rows, happened: Happened, sign: int) -> None:
        """Count conversions of these units, which are not remembered (any more), in (1) or out (-1)."""
        places, rows = self._store.enrolments_of(units)
        self._note_latest(rows, happened.at_ms[places])
        live = self._store.enrolments.segment[rows] != CROSSED
        self._credit(Pairs(places[live], rows[live]), happened, sign)

    def settle(self, rows: Rows, sign: int) -> None:
        """Count enrolments, of units in no other variant, with all their conversions in (1) or out (-1).
        Those counted in must have values of 0, those counted out are left with them."""
        for start in range(0, len(rows), _AT_ONCE):
            self._settle(rows[start : start + _AT_ONCE], sign)

    def count_exposures(self, places: Rows, at_ms: I64) -> None:
        """Count distinct exposures in."""
        for place, hour, count in self._by_hour(places, at_ms):
            variant = self._board.homes[place]
            variant.exposures += count
            variant.tally.changed = True
            variant.hour(hour)[EXPOSURES] += count

    def note_latest(self, places: Rows, at_ms: I64) -> None:
        """Note the event times of what happened to units in these variants."""
        tallies = self._board.columns.tally[places]
        order = np.lexsort((at_ms, tallies))
        last = np.append(tallies[order][1:] != tallies[order][:-1], True) if len(order) else order
        for place, latest_ms in zip(places[order][last].tolist(), at_ms[order][last].tolist(), strict=True):
            tally = self._board.tally_at(place)
            if latest_ms > tally.latest_ms:
                tally.latest_ms = latest_ms
                tally.changed = True

    def note_exposed(self, places: Rows, seen_ms: I64) -> None:
        """Note when exposures to these variants happened, see `VariantTally.last_exposed_ms`."""
        latest_ms = np.zeros(len(self._board.homes), np.int64)
        np.maximum.at(latest_ms, places, seen_ms)
        met = np.flatnonzero(latest_ms)
        for place, last_ms in zip(met.tolist(), latest_ms[met].tolist(), strict=True):
            variant = self._board.homes[place]
            if last_ms > variant.last_exposed_ms:
                variant.last_exposed_ms = last_ms
                variant.tally.changed = True

    def note_conversions(self, rows: Rows) -> None:
        """Note the event times of all conversions of units that are not settled, as they are crossed."""
        places, conversions = self._store.conversions_of(self._store.enrolments.unit[rows])
        self._note_latest(rows[places], self._store.conversions.at_ms[conversions])

    def _note_latest(self, rows: Rows, at_ms: I64) -> None:
        self.note_latest(self._store.enrolments.place[rows], at_ms)

    def _settle(self, rows: Rows, sign: int) -> None:
        table, board = self._store.enrolments, self._board
        place, segment = table.place[rows].astype(np.int64), table.segment[rows].astype(np.int64)
        for key, count in _counted((place << _SEGMENT_BITS) | segment):
            variant = board.homes[key >> _SEGMENT_BITS]
            variant.add_units(key & ((1 << _SEGMENT_BITS) - 1), sign * count)
            variant.tally.changed = True
        for number, hour, count in self._by_hour(place, table.at_ms[rows]):
            board.homes[number].hour(hour)[UNITS] += sign * count
        places, conversions = self._store.conversions_of(table.unit[rows])
        if not len(conversions):
            return
        log, owner = self._store.conversions, rows[places]
        if sign > 0:
            self._note_latest(owner, log.at_ms[conversions])
        happened = Happened(log.name[conversions], log.at_ms[conversions], log.micro[conversions])
        self._credit(Pairs(np.arange(len(conversions)), owner), happened, sign)

    def _credit(self, pairs: Pairs, happened: Happened, sign: int) -> None:
        """Move values and tallies by pairs of live enrolments."""
        columns, table = self._board.columns, self._store.enrolments
        plans = columns.rows
        place = table.place[pairs.enrolment].astype(np.int64)
        elapsed_ms = happened.at_ms[pairs.conversion] - table.at_ms[pairs.enrolment]
        name, metrics, first = (
            happened.name[pairs.conversion],
            columns.metrics[place],
            columns.first_metric[place],
        )
        counted = np.zeros(len(place), bool)
        for index in range(int(metrics.max(initial=0))):
            wanted = np.flatnonzero(metrics > index)
            row = first[wanted] + index
            matches = plans.name[row] == name[wanted]
            if MetricKind.RATIO in plans.kinds:
                matches |= plans.ratio[row] & (plans.denominator[row] == name[wanted])
            wanted, row = wanted[matches], row[matches]
            since_ms = elapsed_ms[wanted]
            after = (since_ms >= 0) & (since_ms <= plans.window_ms[row])
            near = after | ((since_ms < 0) & (since_ms >= -plans.covariate_window_ms[row]))
            counted[wanted[after]] = True
            if MetricKind.RATIO in plans.kinds:
                after &= plans.name[row] == name[wanted]
            wanted, after, row = wanted[near], after[near], row[near]
            if len(wanted):
                micro = happened.micro[pairs.conversion[wanted]]
                self._move(pairs.enrolment[wanted], index, row, micro, after, sign)
        for number, hour, count in self._by_hour(place[counted], happened.at_ms[pairs.conversion[counted]]):
            variant = self._board.homes[number]
            variant.conversions += sign * count
            variant.hour(hour)[CONVERSIONS] += sign * count

    def _move(self, rows: Rows, index: int, metrics: I64, micro: Whole, after: Mask, sign: int) -> None:  # noqa: PLR0913
        """Add conversions to the values of enrolments in one metric, and what that changes to the tallies.
        They belong to y where `after` says so, to x elsewhere."""
        table = self._store.enrolments
        owners, where, inverse = np.unique(rows, return_index=True, return_inverse=True)
        metrics = metrics[where]
        values = table.values[owners].astype(np.int64) + index
        was = self._worth(values, metrics)
        self._add_to_values(values, inverse, micro, after, sign)
        now = self._worth(values, metrics)
        place, segment = table.place[owners].astype(np.int64), table.segment[owners].astype(np.int64)
        groups, group = np.unique((place << _SEGMENT_BITS) | segment, return_inverse=True)
        changes = _changes(group, len(groups), was, now)
        for key, change in zip(groups.tolist(), changes, strict=True):
            variant = self._board.homes[key >> _SEGMENT_BITS]
            variant.add(key & ((1 << _SEGMENT_BITS) - 1), index, change)
            variant.tally.changed = True
        if MetricKind.QUANTILE in self._board.columns.rows.kinds:
            chosen = self._board.columns.rows.quantile[metrics]
            self._move_in_sketches(place, index, was, chosen, -1)
            self._move_in_sketches(place, index, now, chosen, 1)

    def _move_in_sketches(self, place: I64, index: int, worth: _Worth, chosen: Mask, sign: int) -> None:
        """Count the values of the chosen enrolments that have converted in (1) or out (-1) of their bins."""
        converted = np.flatnonzero(chosen & (worth.converted > 0))
        bins = bins_of(worth.y[converted]) + _MIDDLE_BIN
        for key, count in _counted((place[converted] << _BIN_BITS) | bins):
            number = (key & ((1 << _BIN_BITS) - 1)) - _MIDDLE_BIN
            self._board.homes[key >> _BIN_BITS].add_to_sketch(index, number, sign * count)

    def _worth(self, values: I64, metrics: I64) -> _Worth:
        table = self._store.values
        count, before = table.count[values], table.before[values]
        y = self._bring_in(count, self._sums("total", values), metrics)
        x = self._bring_in(before, self._sums("before_total", values), metrics) if before.any() else 0 * y
        return _Worth((count > 0).astype(np.int64), y, x)

    def _bring_in(self, count: Rows, total: Whole, metrics: I64) -> Whole:
        """Return `MetricPlan.value` of each."""
        rows = self._board.columns.rows
        if total.dtype == object:
            each = zip(metrics.tolist(), count.tolist(), total.tolist(), strict=True)
            return narrowed(np.array([rows.plans[m].value(n, found) for m, n, found in each], object))
        found = np.clip(total, rows.lower[metrics], rows.upper[metrics])
        if MetricKind.COUNT in rows.kinds:
            found = np.where(rows.count[metrics], count.astype(np.int64) * MICRO, found)
        return np.where(count == 0, 0, np.where(rows.proportion[metrics], MICRO, found))

    def _add_to_values(self, values: I64, inverse: I64, micro: Whole, after: Mask, sign: int) -> None:
        table = self._store.values
        for counts, sums, chosen in ((table.count, "total", after), (table.before, "before_total", ~after)):
            if not chosen.any():
                continue
            np.add.at(counts, values[inverse[chosen]], sign)
            total = self._sums(sums, values)
            added = sign * micro[chosen]
            if total.dtype == object or not can_add(added):
                total, added = widened(total), widened(added)
            np.add.at(total, inverse[chosen], added)
            self._keep_sums(sums, values, total)

    def _sums(self, column: str, values: I64) -> Whole:
        """Return sums of values, as Python's integers where one is large."""
        found: I64 = getattr(self._store.values, column)[values]
        if not self._store.large or not is_large(found):
            return found
        large = self._store.large
        exact = [large.get((column, row), n) for row, n in zip(values.tolist(), found.tolist(), strict=True)]
        return np.array(exact, object)

    def _keep_sums(self, column: str, values: I64, total: Whole) -> None:
        table: I64 = getattr(self._store.values, column)
        large = self._store.large
        if is_large(total) or (large and is_large(table[values])):
            for row, found in zip(values.tolist(), total.tolist(), strict=True):
                large.pop((column, row), None)
                if abs(found) >= LARGE:
                    large[column, row] = found
            total = np.array([max(-LARGE, min(found, LARGE)) for found in total.tolist()])
        table[values] = total

    def _by_hour(self, places: Rows, at_ms: I64) -> list[tuple[int, int, int]]:
        """Return (place, hour since 1970, count) of what happened."""
        keys = (places.astype(np.int64) << _HOUR_BITS) | (at_ms // HOUR_MS)
        return [(key >> _HOUR_BITS, key & ((1 << _HOUR_BITS) - 1), count) for key, count in _counted(keys)]


def _counted(keys: I64) -> list[tuple[int, int]]:
    found, counts = np.unique(keys, return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def _changes(group: I64, count: int, was: _Worth, now: _Worth) -> list[tuple[int, int, int, int, int, int]]:
    """Return by group what enrolments changed that were worth this and are now worth that."""
    parts = [
        sums_by(group, count, now.converted - was.converted),
        sums_by(group, count, now.y - was.y),
        _difference(products_by(group, count, now.y, now.y), products_by(group, count, was.y, was.y)),
    ]
    if not (was.x.any() or now.x.any()):
        nothing = [0] * count
        return list(zip(*parts, nothing, nothing, nothing, strict=True))
    parts += [
        sums_by(group, count, now.x - was.x),
        _difference(products_by(group, count, now.x, now.x), products_by(group, count, was.x, was.x)),
        _difference(products_by(group, count, now.x, now.y), products_by(group, count, was.x, was.y)),
    ]
    return list(zip(*parts, strict=True))


def _difference(now: list[int], was: list[int]) -> list[int]:
    return [after - before for after, before in zip(now, was, strict=True)]
