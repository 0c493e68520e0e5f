"""Exact sums of whole numbers by group, many at a time.

Numbers below 2^50 are added in 64 bits, their products in halves of 25 bits; what is larger goes through
Python's integers, which do not overflow: arrays of dtype `object` hold these.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from libs.statistics.sums import MICRO, to_micro
from services.metrics.domain.columns import I64, Rows

Whole: TypeAlias = npt.NDArray[Any]
"""int64, or object with Python's integers."""

LARGE = 1 << 50
_HALF = 25
_LOW = (1 << _HALF) - 1
_AT_ONCE = 2_048
"""So many products of two halves, twice, stay below 2^63."""
_NEAR_TIE = 0.25
_SAFE = 1 << 62


def micros(values: list[float]) -> Whole:
    """Return `to_micro` of each, as int64 where no sum of a batch can overflow."""
    scaled: npt.NDArray[np.float64] = np.array(values) * MICRO
    whole = np.rint(scaled)
    # Below 2^50 the product is off by at most 1/8: whatever is this near a whole number is nearest to it.
    sure = (np.abs(scaled) < LARGE) & (np.abs(scaled - whole) < _NEAR_TIE)
    if sure.all():
        return whole.astype(np.int64)
    found = np.array([to_micro(value) for value in values], object)
    return narrowed(found)


def narrowed(numbers: Whole) -> Whole:
    """Return numbers as int64 if all are below 2^50, else as they are."""
    if numbers.dtype != object or (len(numbers) and is_large(numbers)):
        return numbers
    small: I64 = numbers.astype(np.int64)
    return small


def is_large(numbers: Whole) -> bool:
    """Return True when some number is not below 2^50."""
    return bool(len(numbers)) and _size(numbers) >= LARGE


def can_add(numbers: Whole) -> bool:
    """Return True when any sum of these, and a number below 2^50, is one of 64 bits."""
    return numbers.dtype != object and (not len(numbers) or _size(numbers) * len(numbers) < _SAFE)


def _size(numbers: Whole) -> int:
    return max(-int(numbers.min()), int(numbers.max()))


def widened(numbers: Whole) -> Whole:
    """Return numbers as Python's integers."""
    wide: Whole = numbers.astype(object)
    return wide


def sums_by(groups: Rows, count: int, numbers: Whole) -> list[int]:
    """Return the sum of the numbers of each group."""
    if not can_add(numbers):
        numbers = widened(numbers)
    total = np.zeros(count, numbers.dtype)
    np.add.at(total, groups, numbers)
    return [int(each) for each in total.tolist()]


def products_by(groups: Rows, count: int, left: Whole, right: Whole) -> list[int]:
    """Return the sum of the products of each group."""
    if left.dtype == object or right.dtype == object or is_large(left) or is_large(right):
        return sums_by(groups, count, widened(left) * widened(right))
    total = [0] * count
    for start in range(0, len(left), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        for group, found in enumerate(_products(groups[part], count, left[part], right[part])):
            total[group] += found
    return total


def _products(groups: Rows, count: int, left: I64, right: I64) -> list[int]:
    high_l, low_l, high_r, low_r = left >> _HALF, left & _LOW, right >> _HALF, right & _LOW
    parts = []
    for product in (high_l * high_r, high_l * low_r + low_l * high_r, low_l * low_r):
        part = np.zeros(count, np.int64)
        np.add.at(part, groups, product)
        parts.append(part.tolist())
    return [(high << 2 * _HALF) + (middle << _HALF) + low for high, middle, low in zip(*parts, strict=True)]
