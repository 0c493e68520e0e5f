"""The audit's bins, held to those of ingest."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from libs.statistics import quantile_sketch
from services.metrics.audit.bins import ENDS, FURTHEST, bin_of

EDGES = st.sampled_from(ENDS).flatmap(lambda end: st.integers(end - 2, end + 2))
VALUES = st.integers(0, 200) | st.integers(0, 10 * FURTHEST) | EDGES


@settings(max_examples=500, deadline=None)
@given(VALUES, st.sampled_from([1, -1]))
@example(FURTHEST, 1)
@example(ENDS[-1] + 1, -1)
@example(0, 1)
def test_a_value_falls_into_the_same_bin(size: int, sign: int) -> None:
    """Zero, small and huge values, negative ones and those at the edges of a bin, to the last millionth."""
    assert bin_of(sign * size) == quantile_sketch.bin_of(sign * size)


def test_every_edge_is_the_same() -> None:
    """The largest value of each bin and the one after it lie where ingest has them, on both sides of zero."""
    assert ENDS[-1] >= FURTHEST > ENDS[-2]
    for end in ENDS:
        for value in (end, end + 1, -end, -end - 1):
            assert bin_of(value) == quantile_sketch.bin_of(value)
