"""The copy that a snapshot is made of."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.metrics.domain.chunks import BLOCK_BYTES, SMALL_BYTES, Chunks, Scratch, Stream

SIZES = st.lists(st.integers(0, 900_000), max_size=8)


def columns_of(sizes: list[int]) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return columns of so many numbers, all of them different."""
    return [np.arange(size, dtype=np.int64) + 1_000_000 * place for place, size in enumerate(sizes)]


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_columns_come_back(sizes: list[int]) -> None:
    """Whatever the sizes, each column is read back from the stream, though it has changed meanwhile."""
    columns = columns_of(sizes)
    chunks = Chunks(b"header", columns, Scratch())
    for column in columns:
        column[:] = -1
    assert next(chunks) == b"header"
    stream = Stream(chunks)
    for column, wanted in zip(columns, columns_of(sizes), strict=True):
        found = np.zeros(len(column), np.int64)
        assert stream.read_into(found.view(np.uint8))
        assert (found == wanted).all()
    assert not stream.read_into(np.zeros(1, np.uint8))


def test_two_copies_at_a_time_do_not_touch() -> None:
    """A copy that is taken while another is read lies elsewhere; after that the memory is used again."""
    scratch = Scratch()
    for size in (9, SMALL_BYTES):
        parts = [np.full(size, number) for number in range(4)]
        first, second = Chunks(b"a", parts[:1], scratch), Chunks(b"b", parts[1:2], scratch)
        assert list(first) == [b"a", parts[0].tobytes()]
        assert list(second) == [b"b", parts[1].tobytes()]
        third = Chunks(b"c", parts[2:3], scratch)
        third.close()
        third.close()
        assert list(third) == []
        assert list(Chunks(b"d", parts[3:], scratch)) == [b"d", parts[3].tobytes()]


def test_memory_is_reserved_a_block_at_a_time() -> None:
    """Each call takes at most one block, and none once there is room."""
    scratch = Scratch()
    wanted = 3 * BLOCK_BYTES - 1
    assert [scratch.reserve(wanted) for _ in range(5)] == [True, True, True, False, False]
