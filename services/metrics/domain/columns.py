"""Tables of numbers, a column an array: a million rows without an object each."""

from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

I32: TypeAlias = npt.NDArray[np.int32]
I64: TypeAlias = npt.NDArray[np.int64]
U64: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Rows: TypeAlias = npt.NDArray[np.integer[Any]]
"""Numbers of rows."""

NONE = -1
"""Stands for no row."""
_FEWEST = 64
_GROWTH = 1.25
_FEW = 8
"""So few are quicker followed one by one."""


class Table:
    """Rows of numbers. A subclass names its columns and their types; each is an attribute.

    The arrays are longer than the table, and are replaced when it grows: fetch them after `extend`.
    """

    types: ClassVar[dict[str, type[np.generic]]]

    def __init__(self) -> None:
        self.n = 0
        for name, kind in self.types.items():
            setattr(self, name, np.zeros(_FEWEST, kind))

    def extend(self, count: int) -> I64:
        """Add so many rows, all of zeros, and return their numbers."""
        start, self.n = self.n, self.n + count
        if self.n > self._room:
            room = max(self.n, roomy(self._room))
            for name in self.types:
                self._lengthen(name, room)
        return np.arange(start, self.n)

    def keep(self, kept: Mask) -> I64:
        """Drop the rows that are not marked, and close the gaps. Returns, for every old row, its new number,
        or NONE."""
        moved = np.full(len(kept), NONE, np.int64)
        moved[kept] = np.arange(int(kept.sum()))
        self.fill({name: getattr(self, name)[: self.n][kept] for name in self.types})
        return moved

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return every column as long as the table is: the table's own, not a copy."""
        return {name: getattr(self, name)[: self.n] for name in self.types}

    @property
    def nbytes(self) -> int:
        """Return how many bytes `columns` has."""
        return self.n * sum(np.dtype(kind).itemsize for kind in self.types.values())

    def fill(self, columns: dict[str, npt.NDArray[Any]], rows: int | None = None) -> None:
        """Take these columns, which are equally long, as the whole table; they are the table's own then.
        `rows`: so many of them, and room for more."""
        room = len(next(iter(columns.values())))
        self.n = room if rows is None else rows
        for name, kind in self.types.items():
            column = columns[name]
            if room < _FEWEST or not column.flags.writeable or column.dtype != kind:
                column = np.zeros(max(room, _FEWEST), kind)
                column[: self.n] = columns[name][: self.n]
            setattr(self, name, column)

    def _lengthen(self, name: str, room: int) -> None:
        """Give a column room for more rows, where it lies if that can be: the system then moves no byte."""
        try:
            getattr(self, name).resize(room)
        except ValueError:  # somebody looks at it, or its memory is not its own
            grown = np.zeros(room, self.types[name])
            column = getattr(self, name)
            grown[: len(column)] = column
            setattr(self, name, grown)

    @property
    def _room(self) -> int:
        return len(getattr(self, next(iter(self.types))))


def roomy(rows: int) -> int:
    """Return how long columns are made for so many rows."""
    return int(rows * _GROWTH)


def link(heads: I32, after: I32, owners: Rows, rows: Rows) -> None:
    """Put each row in front of its owner's chain; an owner may get several."""
    if not len(rows):
        return
    order = np.argsort(owners, kind="stable")
    owner, row = owners[order], rows[order]
    first = np.ones(len(row), bool)
    first[1:] = owner[1:] != owner[:-1]
    before = np.empty(len(row), np.int64)
    before[1:] = row[:-1]
    before[first] = heads[owner[first]]
    after[row] = before
    last = np.append(first[1:], True)
    heads[owner[last]] = row[last]


def follow(heads: Rows, after: I32) -> tuple[I64, I64]:
    """Return, for chains that begin at these rows, pairs (place in `heads`, row) of all their rows."""
    who = np.flatnonzero(heads >= 0)
    at = heads[who].astype(np.int64)
    all_who, all_rows = [who], [at]
    while len(at) > _FEW:
        following = after[at].astype(np.int64)
        going = following >= 0
        who, at = who[going], following[going]
        all_who.append(who)
        all_rows.append(at)
    for place, row in zip(who.tolist(), at.tolist(), strict=True):
        rest = []
        while (row := after.item(row)) >= 0:
            rest.append(row)
        if rest:
            all_who.append(np.full(len(rest), place))
            all_rows.append(np.array(rest))
    return np.concatenate(all_who), np.concatenate(all_rows)


def ranks(groups: Rows) -> I64:
    """Return for each element how many equal ones stand before it."""
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    first = np.ones(len(order), bool)
    first[1:] = sorted_groups[1:] != sorted_groups[:-1]
    places = np.arange(len(order))
    starts = np.maximum.accumulate(np.where(first, places, 0))
    found = np.empty(len(order), np.int64)
    found[order] = places - starts
    return found
