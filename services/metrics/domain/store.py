"""What a partition remembers: the tables, their indexes, and how they are compacted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from services.metrics.domain.columns import I64, NONE, U64, Mask, Rows, Table, follow, link
from services.metrics.domain.index import Index
from services.metrics.domain.tables import Conversions, Enrolments, Exposures, Units, Values

_UNIT_BITS = np.uint64(32)


def key_of(units: Rows, places: Rows) -> U64:
    """Return the keys of enrolments: the unit's row before the variant's place."""
    return (units.astype(np.uint64) << _UNIT_BITS) | places.astype(np.uint64)


class Store:
    """The tables of one partition."""

    def __init__(self) -> None:
        self.units = Units()
        self.enrolments = Enrolments()
        self.values = Values()
        self.exposures = Exposures()
        self.conversions = Conversions()
        self.unit_index = Index()
        self.enrolment_index = Index()
        self.exposure_index = Index()
        self.conversion_index = Index()
        self.large: dict[tuple[str, int], int] = {}
        """Sums of `values` that do not fit, by column and row; the column then holds LARGE."""
        self.compactions = 0
        """Rows that were remembered before the last one mean nothing any more."""

    def tables(self) -> dict[str, Table]:
        """Return the tables by name."""
        return {
            "units": self.units,
            "enrolments": self.enrolments,
            "values": self.values,
            "exposures": self.exposures,
            "conversions": self.conversions,
        }

    @property
    def nbytes(self) -> int:
        """Return how many bytes a copy of all tables takes."""
        return sum(table.nbytes for table in self.tables().values())

    def find_units(self, keys: U64) -> I64:
        """Return the rows of units by the hashes of their ids, NONE for those that are new."""
        return self.unit_index.find(self.units.key, keys)

    def add_units(self, keys: U64) -> I64:
        """Add units, which are new and differ."""
        rows = self.units.extend(len(keys))
        self.units.key[rows] = keys
        self.units.enrolment[rows] = self.units.conversion[rows] = NONE
        self.unit_index.add(self.units.key, rows)
        return rows

    def add_enrolments(self, units: Rows, places: Rows, metrics: Rows) -> I64:
        """Enrol units, which are in no variant of these yet, with so many metrics each. What else is known
        of them is for the caller to fill in."""
        rows = self.enrolments.extend(len(units))
        table = self.enrolments
        table.key[rows] = key_of(units, places)
        table.unit[rows], table.place[rows] = units, places
        self.new_values(rows, metrics)
        self.enrolment_index.add(table.key, rows)
        link(self.units.enrolment, table.after, units, rows)
        return rows

    def add_conversions(self, units: Rows, keys: U64) -> I64:
        """Add conversions of units, which are new and differ. Name, time and value are for the caller to fill
        in."""
        rows = self.conversions.extend(len(units))
        log = self.conversions
        log.key[rows], log.unit[rows] = keys, units
        link(self.units.conversion, log.after, units, rows)
        np.add.at(self.units.conversions, units, 1)
        self.conversion_index.add(log.key, rows)
        return rows

    def new_values(self, rows: Rows, metrics: Rows) -> None:
        """Give enrolments values of 0 for so many metrics each; those that they had are forgotten."""
        start = self.values.n
        self.values.extend(int(metrics.sum()))
        self.enrolments.values[rows] = start + np.cumsum(metrics) - metrics

    def enrolments_of(self, units: Rows) -> tuple[I64, I64]:
        """Return pairs (place in `units`, row of an enrolment)."""
        return follow(self.units.enrolment[units], self.enrolments.after)

    def conversions_of(self, units: Rows) -> tuple[I64, I64]:
        """Return pairs (place in `units`, row of a conversion)."""
        return follow(self.units.conversion[units], self.conversions.after)

    def compact(self, enrolments: Mask, conversions: Mask, metrics: I64) -> int:
        """Keep these enrolments, with so many metrics each (of the old rows), these conversions, and the
        units that have any. Returns how many units went."""
        self.compactions += 1
        units = np.zeros(self.units.n, bool)
        units[self.enrolments.unit[: self.enrolments.n][enrolments]] = True
        units[self.conversions.unit[: self.conversions.n][conversions]] = True
        gone = self.units.n - int(units.sum())
        self._keep_values(enrolments, metrics)
        of_enrolment = self.exposures.enrolment[: self.exposures.n]
        self.exposures.keep(enrolments[of_enrolment])
        unit_rows, enrolment_rows = self.units.keep(units), self.enrolments.keep(enrolments)
        self.conversions.keep(conversions)
        table, counted = self.exposures, slice(self.exposures.n)
        table.enrolment[counted] = enrolment_rows[table.enrolment[counted]]
        enrolled, converted = self.enrolments, self.conversions
        for owned in (enrolled, converted):
            owned.unit[: owned.n] = unit_rows[owned.unit[: owned.n]]
        enrolled.key[: enrolled.n] = key_of(enrolled.unit[: enrolled.n], enrolled.place[: enrolled.n])
        self.rebuild()
        return gone

    def _keep_values(self, enrolments: Mask, metrics: I64) -> None:
        """Lay the values of these enrolments side by side."""
        rows = np.flatnonzero(enrolments)
        counts = metrics[rows]
        starts = self.enrolments.values[rows].astype(np.int64)
        ends = np.cumsum(counts)
        old = np.repeat(starts - (ends - counts), counts) + np.arange(int(counts.sum()))
        self.values.fill({name: getattr(self.values, name)[old] for name in self.values.types})
        self.enrolments.values[rows] = ends - counts
        if self.large:
            new = {row: place for place, row in enumerate(old.tolist())}
            self.large = {(name, new[row]): n for (name, row), n in self.large.items() if row in new}

    def rebuild(self) -> None:
        """Work out chains, counts and indexes from the tables."""
        units, enrolled, converted = self.units, self.enrolments, self.conversions
        units.enrolment[: units.n] = units.conversion[: units.n] = NONE
        link(units.enrolment, enrolled.after, enrolled.unit[: enrolled.n], np.arange(enrolled.n))
        link(units.conversion, converted.after, converted.unit[: converted.n], np.arange(converted.n))
        units.conversions[: units.n] = np.bincount(converted.unit[: converted.n], minlength=units.n)
        self.unit_index.rebuild(units.key, units.n)
        self.enrolment_index.rebuild(enrolled.key, enrolled.n)
        self.exposure_index.rebuild(self.exposures.key, self.exposures.n)
        self.conversion_index.rebuild(converted.key, converted.n)

    def fill(self, tables: Mapping[str, dict[str, npt.NDArray[Any]]], rows: Mapping[str, int]) -> None:
        """Take so many first rows of these columns, by table, as everything there is."""
        for name, table in self.tables().items():
            table.fill(tables[name], rows[name])
        self.rebuild()
