"""Counts in bins that grow with the value: quantiles to within 1 %, from sums that merge and can be undone.

The idea is DDSketch (Masson, Rim, Lee 2019): the bins of positive values are bounded by a sequence that grows
by (1 + a) / (1 - a), so that the harmonic middle of a bin is within the share a of everything in it. Values
here are integers of micro-units, so the bounds are integers too, made once without any floating point: the
same value falls into the same bin on every machine. While the bounds lie one apart (below 50 micro-units)
bins hold a single value. Negative values mirror positive ones; zero is its own bin.

A sketch is a plain `dict[int, int]`, bin to count, with no bin at a count of 0. Nothing is ever collapsed:
merging is exactly associative and commutative, adding and removing are inverse, and the number of bins is
bounded by the range of values (some 2,600 on either side of zero, up to 1e18 units of value), not by how
many values come. What is further out than that falls into the last bin, whose far end is not known.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from libs.statistics.sums import MICRO

RELATIVE_ACCURACY: Final = 0.01
"""a: how far a value may lie from the middle of its bin, as a share of the value."""
_PERCENT: Final = 100
LARGEST_MICRO: Final = 10**18 * MICRO
"""Beyond this size a value is only known to be beyond it."""

Sketch = dict[int, int]


class Range(NamedTuple):
    """Where values of a bin lie: micro-units, both ends included. None: no known end on that side."""

    low: int | None
    high: int | None

    @property
    def middle(self) -> float | None:
        """Return the value, in its own units, that is within the relative accuracy of all of the bin."""
        if self.low is None or self.high is None:
            return None
        if self.low == self.high:
            return self.low / MICRO
        return 2 * self.low * self.high / (self.low + self.high) / MICRO


def _upper_ends() -> tuple[int, ...]:
    ends = [1]
    while ends[-1] < LARGEST_MICRO:
        ends.append((ends[-1] + 1) * (_PERCENT + 1) // (_PERCENT - 1))
    return tuple(ends)


_ENDS: Final = _upper_ends()
_ENDS_OF_64_BITS: Final = np.array([end for end in _ENDS if end < 1 << 64], np.uint64)
BINS_A_SIDE: Final = len(_ENDS) + 1
"""Bins of positive values; as many of negative ones, and one of zero."""


def bin_of(micro: int) -> int:
    """Return the bin of a value in micro-units: of its sign, 0 for zero, larger for larger values."""
    if micro > 0:
        return bisect_left(_ENDS, micro) + 1
    return -1 - bisect_left(_ENDS, -micro) if micro else 0


def bins_of(micros: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return `bin_of` of each, of an array of int64 or of Python's integers: the same bins, whole numbers
    throughout."""
    if micros.dtype == object:
        return np.array([bin_of(each) for each in micros.tolist()], np.int64)
    below = micros < 0
    bits = micros.astype(np.uint64)
    # Two's complement: the size of the least number of 64 bits is one more than that of the greatest.
    places = np.searchsorted(_ENDS_OF_64_BITS, np.where(below, ~bits + np.uint64(1), bits)).astype(np.int64)
    return np.where(micros == 0, 0, np.where(below, -1 - places, places + 1))


def range_of(key: int) -> Range:
    """Return where the values of a bin lie. Raises ValueError for a key that `bin_of` never gives."""
    size = abs(key)
    if size > BINS_A_SIDE:
        raise ValueError(f"bin {key}: there are only {BINS_A_SIDE} on either side of zero")
    if not size:
        return Range(0, 0)
    near = _ENDS[size - 2] + 1 if size > 1 else 1
    far = _ENDS[size - 1] if size < BINS_A_SIDE else None
    return Range(near, far) if key > 0 else Range(None if far is None else -far, -near)


def count_value(sketch: Sketch, micro: int, times: int = 1) -> None:
    """Count a value (micro-units) `times` times; a negative number takes it out again.

    Raises ValueError, and changes nothing, when more would be taken out than was counted.
    """
    key = bin_of(micro)
    count = sketch.get(key, 0) + times
    if count < 0:
        raise ValueError(f"bin {key} holds {count - times} values; {-times} can't be taken out")
    if count:
        sketch[key] = count
    else:
        sketch.pop(key, None)


def merged(one: Mapping[int, int], two: Mapping[int, int]) -> Sketch:
    """Return the sketch of all values of both."""
    together = dict(one)
    for key, count in two.items():
        together[key] = together.get(key, 0) + count
    return together


class Ranks:
    """A sketch in order: which bin holds the k-th smallest value."""

    __slots__ = ("_up_to", "keys", "total")

    def __init__(self, sketch: Mapping[int, int]) -> None:
        """Sort the bins once; looking up a rank then takes a bisection."""
        self.keys = sorted(key for key, count in sketch.items() if count > 0)
        self._up_to = list(accumulate(sketch[key] for key in self.keys))
        self.total = self._up_to[-1] if self._up_to else 0

    def up_to(self, key: int) -> int:
        """Return how many values lie in this bin or below it."""
        before = bisect_right(self.keys, key)
        return self._up_to[before - 1] if before else 0

    def at(self, rank: int) -> Range:
        """Return where the value of this rank lies, counted from 1. Raises ValueError for a rank not held."""
        if not 1 <= rank <= self.total:
            raise ValueError(f"rank {rank} of {self.total} values")
        return range_of(self.keys[bisect_left(self._up_to, rank)])
