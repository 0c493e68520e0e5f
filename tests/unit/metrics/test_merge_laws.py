"""Merging is associative and commutative: partitions may be summed in any order and grouping."""

import random
from collections import Counter
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.ports import Record
from libs.statistics.sums import Sums
from services.metrics.audit.recompute import Recount
from services.metrics.domain.partition import MetricsPartitions
from tests.unit.metrics.logs import LOGS, NAMES, fold, known, merged, nonzero, published, recount

COUNTS = st.integers(0, 10**7)
TOTALS = st.integers(-(10**40), 10**40)
SUMS = st.builds(Sums, COUNTS, COUNTS, TOTALS, TOTALS, TOTALS, TOTALS, TOTALS)


@given(st.lists(SUMS, min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_sums_merge_in_any_order_and_grouping(parts: list[Sums], chance: random.Random) -> None:
    """Beyond 64 bits and below zero, the covariate's sums included: one result, whoever adds first."""
    in_order = reduce(Sums.__add__, parts)
    left = list(parts)
    while len(left) > 1:
        one, two = (left.pop(chance.randrange(len(left))) for _ in range(2))
        left.append(one + two)
    assert left == [in_order]
    assert in_order + Sums() == in_order


@given(LOGS, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_partitions_merge_in_any_order_and_grouping(log: list[Record], chance: random.Random) -> None:
    """Units spread over any partitions, these merged two at a time in any order: the recount of all."""
    place = {unit.encode(): chance.randrange(4) for unit in NAMES}
    parts: list[Recount] = []
    for number in range(4):
        state = MetricsPartitions(known())(number, None)
        fold(state, [each for each in log if place[each.key or b""] == number])
        parts.append(published(state.rows(), Counter()))
    while len(parts) > 1:
        one, two = (parts.pop(chance.randrange(len(parts))) for _ in range(2))
        parts.append(merged(one, two))
    assert nonzero(parts[0]) == recount(log)
