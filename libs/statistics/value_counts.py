"""A histogram of numbers that nobody has to choose bins for: exact while values are few, coarser when many.

The bins are nested grids of floating-point numbers with fewer and fewer bits: a bin is named by its upper
end and holds what lies above the next lower grid point. The grid is the finest on which the values seen so
far fill at most `limit` bins. That is a property of the values as a set, not of their order, so folding in
any order, in any batches, and merging partitions give the same histogram to the last digit.

On a grid of b bits a bin near x is at most |x| / 2^(b-1) wide; zero ends a bin of its own, and numbers nearer
to zero than 2^-40 fall into the two bins beside it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT_BITS: Final = 53
"""All bits of a float's mantissa: every value is its own bin."""
DEFAULT_LIMIT: Final = 256
MIN_LIMIT: Final = 180
"""One bit a bin leaves at most 41 + 40 octaves on either side of zero: fewer bins cannot be promised."""
_TINY: Final = 2.0**-40
_SLACK: Final = 1e-9
_WORTH_AN_ARRAY: Final = 16


class Bin(NamedTuple):
    """`held` values in (low, high]; where `low == high`, all of them are exactly that."""

    low: float
    high: float
    held: int


def ceiling(value: float, bits: int) -> float:
    """Return the smallest number of the grid of `bits` (1 to 53) that is not below `value`."""
    if bits >= EXACT_BITS:
        return value + 0.0
    if -_TINY < value <= 0.0:
        return 0.0
    if 0.0 < value <= _TINY:
        return _TINY
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(math.ldexp(mantissa, bits)), exponent - bits)


def _ceilings(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """`ceiling` of many on a grid that is not exact."""
    mantissas, exponents = np.frexp(values)
    highs = np.ldexp(np.ceil(np.ldexp(mantissas, bits)), exponents - bits)
    highs = np.where((values > 0.0) & (values <= _TINY), _TINY, highs)
    return np.where((values > -_TINY) & (values <= 0.0), 0.0, highs)


def _previous(high: float, bits: int) -> float:
    """The grid point below a grid point: rounding up the negated next number below it."""
    if bits >= EXACT_BITS:
        return high
    if high == 0.0:
        return -_TINY
    if high == _TINY:
        return 0.0
    return -ceiling(-math.nextafter(high, -math.inf), bits)


class ValueCounts:
    """Counts of finite numbers on the finest grid that keeps at most `limit` bins."""

    __slots__ = ("_counts", "_limit", "bits", "total")

    def __init__(self, *, limit: int = DEFAULT_LIMIT) -> None:
        """Start empty. Raises ValueError for a limit under `MIN_LIMIT`."""
        if limit < MIN_LIMIT:
            raise ValueError(f"a histogram needs room for {MIN_LIMIT} bins, not {limit}")
        self._counts: dict[float, int] = {}
        self._limit = limit
        self.bits = EXACT_BITS
        self.total = 0

    @classmethod
    def of(cls, values: Iterable[float], *, limit: int = DEFAULT_LIMIT) -> "ValueCounts":
        """Return the histogram of `values`."""
        counts = cls(limit=limit)
        counts.add_all(list(values))
        return counts

    @classmethod
    def restore(cls, bits: int, counts: Mapping[float, int], *, limit: int = DEFAULT_LIMIT) -> "ValueCounts":
        """Return the histogram that `bits` and `counts` describe, as another one gave them out."""
        restored = cls(limit=limit)
        restored.bits = bits
        restored._counts = dict(counts)
        restored.total = sum(counts.values())
        restored._fit()
        return restored

    @property
    def counts(self) -> Mapping[float, int]:
        """Upper end of each bin to its count, in no particular order."""
        return self._counts

    def add(self, value: float, count: int = 1) -> None:
        """Count a finite number `count` times. Raises ValueError for one that is not finite."""
        if not math.isfinite(value):
            raise ValueError(f"only finite numbers can be counted, not {value}")
        high = ceiling(value, self.bits)
        counts = self._counts
        known = counts.get(high)
        counts[high] = count if known is None else known + count
        self.total += count
        if known is None and len(counts) > self._limit:
            self._fit()

    def add_all(self, values: Sequence[float]) -> None:
        """Count each of `values`, as `add` does one by one, only faster where they are many."""
        if not all(map(math.isfinite, values)):
            raise ValueError("only finite numbers can be counted")
        times: Iterator[int]
        if self.bits >= EXACT_BITS:
            highs, times = values, repeat(1)
        elif len(values) < _WORTH_AN_ARRAY:
            highs, times = [ceiling(value, self.bits) for value in values], repeat(1)
        else:
            found, tally = np.unique(_ceilings(np.asarray(values), self.bits), return_counts=True)
            highs, times = found.tolist(), iter(tally.tolist())
        counts = self._counts
        for high, count in zip(highs, times, strict=False):
            counts[high] = counts.get(high, 0) + count
        self.total += len(values)
        self._fit()

    def merge(self, other: "ValueCounts") -> None:
        """Add everything that `other` counted."""
        if other.bits < self.bits:
            self._coarsen(other.bits)
        for high, count in other.counts.items():
            self.add(high, count)

    def bins(self) -> list[Bin]:
        """Return the bins that hold anything, from low to high."""
        return [Bin(_previous(high, self.bits), high, self._counts[high]) for high in sorted(self._counts)]

    def bounds(self) -> tuple[float, float]:
        """Return a number that no counted value lies at or under, and one that none lies above.

        While values are exact, each is moved outward by a billionth, so that rounding noise is no novelty.
        Raises ValueError when nothing was counted.
        """
        if not self._counts:
            raise ValueError("nothing was counted")
        low, high = min(self._counts), max(self._counts)
        if self.bits < EXACT_BITS:
            return _previous(low, self.bits), high
        return low - _SLACK * max(1.0, abs(low)), high + _SLACK * max(1.0, abs(high))

    def _fit(self) -> None:
        """Take the finest grid that leaves at most `limit` bins; their number only falls as bits do."""
        if len(self._counts) <= self._limit:
            return
        highs = np.fromiter(self._counts, dtype=np.float64)
        low, high = 1, self.bits - 1
        while low < high:
            middle = (low + high + 1) // 2
            if np.unique(_ceilings(highs, middle)).size <= self._limit:
                low = middle
            else:
                high = middle - 1
        self._coarsen(low)

    def _coarsen(self, bits: int) -> None:
        highs = _ceilings(np.fromiter(self._counts, dtype=np.float64), bits).tolist()
        coarse: dict[float, int] = {}
        for high, count in zip(highs, self._counts.values(), strict=True):
            coarse[high] = coarse.get(high, 0) + count
        self._counts = coarse
        self.bits = bits
