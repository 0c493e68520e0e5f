"""What a partition remembers, and how it is taken down while it goes on changing.

A snapshot is the state at the moment it was begun. It is written in chunks between which events are taken in;
a unit that is about to change, and is not in the snapshot yet, is encoded first (copy on write).
"""

from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Raw
from msgspec.msgpack import Encoder

from services.metrics.domain.tallies import ExperimentTally, VariantTally
from services.metrics.domain.units import Unit

Taken: TypeAlias = tuple[str, Unit | Raw]
"""A unit by its id, encoded already when it had to go first."""

CHUNK_UNITS = 2_000
"""About 5 ms of encoding."""


class Store:
    """Units and tallies of one partition. Whoever changes a unit calls `touch` before."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.tallies: dict[str, ExperimentTally] = {}
        self.homes: list[VariantTally] = []
        """Every variant's tally by its place. The place of one that was forgotten is used again."""
        self.free: list[int] = []
        self.snapshot = 0
        """The number of the latest snapshot. A unit with another one is still to be taken down."""
        self._early: list[Taken] | None = None
        self._encoder = Encoder()

    def let_in(self, tally: ExperimentTally, key: str) -> VariantTally:
        """Make the tally of a new variant."""
        place = self.free.pop() if self.free else len(self.homes)
        variant = VariantTally(key, place, tally)
        if place == len(self.homes):
            self.homes.append(variant)
        else:
            self.homes[place] = variant
        tally.variants[key] = variant
        return variant

    def new_unit(self, unit_id: str) -> Unit:
        """Remember a new unit; a snapshot under way does not hold it."""
        unit = self.units[unit_id] = Unit(saved=self.snapshot)
        return unit

    def touch(self, unit_id: str, unit: Unit) -> None:
        """Take a unit down, if that is still to be done, because it is about to change or to go."""
        if unit.saved != self.snapshot:
            self.save(unit_id, unit)

    def save(self, unit_id: str, unit: Unit) -> None:
        """Take a unit down."""
        unit.saved = self.snapshot
        if self._early is not None:
            self._early.append((unit_id, Raw(self._encoder.encode(unit))))

    def chunks(self) -> "Chunks":
        """Begin a snapshot at once, and return its units, some at a time, as the caller asks for them. One
        that is begun later ends this one."""
        self.snapshot += 1
        self._early = []
        return Chunks(self, list(self.units.items()))

    def take_early(self, number: int) -> list[Taken]:
        """Hand out the units that had to go first since the last call. Raises RuntimeError when snapshot
        `number` was given up for a later one."""
        if self.snapshot != number or self._early is None:
            raise RuntimeError(f"snapshot {number} was given up, at {self.snapshot}")
        taken, self._early = self._early, []
        return taken

    def give_up(self, number: int) -> None:
        """Take nothing down for snapshot `number` any more."""
        if self.snapshot == number:
            self._early = None

    def encode(self, taken: list[Taken]) -> bytes:
        """Return units as a chunk."""
        return self._encoder.encode(taken)


class Chunks(Iterator[bytes]):
    """The units of a snapshot under way. To be closed, whether it was read to its end or not."""

    def __init__(self, store: Store, units: list[tuple[str, Unit]]) -> None:
        self._store = store
        self._number = store.snapshot
        self._units = units
        self._start = 0
        self.header: bytes | None = None
        """What comes before the units."""

    def __next__(self) -> bytes:
        """Return the next chunk."""
        if self.header is not None:
            header, self.header = self.header, None
            return header
        while self._start < len(self._units):
            part = self._units[self._start : self._start + CHUNK_UNITS]
            self._start += CHUNK_UNITS
            taken = self._store.take_early(self._number)
            for place in part:
                if place[1].saved != self._number:
                    place[1].saved = self._number
                    taken.append(place)
            if taken:
                return self._store.encode(taken)
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End the snapshot: from now on units may change without being taken down."""
        self._units = []
        self._store.give_up(self._number)
