"""The bins of a quantile's sketch, made a second time from what defines them: whole numbers of millionths.

The first bin of positive values holds 1 alone. Each further one begins with the next whole number, and ends
with the largest that is at most (1 + a) / (1 - a) of its beginning, a being one per cent. Bins are numbered
from 1; the one whose end reaches `FURTHEST` is the last that has an end, the next holds all that is larger.
Negative values lie in the same bins with the sign turned round, and 0 in bin 0.
"""

from bisect import bisect_left
from fractions import Fraction
from math import floor

A = Fraction(1, 100)
FURTHEST = 10**18 * 10**6


def _ends() -> list[int]:
    ends = [1]
    while ends[-1] < FURTHEST:
        begin = ends[-1] + 1
        ends.append(floor(begin * (1 + A) / (1 - A)))
    return ends


ENDS = _ends()
"""Of the bins 1, 2, 3 and so on: the largest value that each holds."""


def bin_of(micro: int) -> int:
    """Return the bin of a value in millionths."""
    if micro == 0:
        return 0
    # As many bins lie before it as end below it.
    number = 1 + bisect_left(ENDS, abs(micro))
    return number if micro > 0 else -number
