"""Tables of columns that grow."""

from typing import ClassVar

import numpy as np

from services.metrics.domain.columns import Table, roomy


class Pairs(Table):
    """Two columns."""

    left: np.ndarray[tuple[int], np.dtype[np.int64]]
    right: np.ndarray[tuple[int], np.dtype[np.int32]]
    types: ClassVar[dict[str, type[np.generic]]] = {"left": np.int64, "right": np.int32}


def test_columns_with_room_are_not_moved_by_the_first_rows_after() -> None:
    """What a snapshot was read into takes the next rows where it lies: they are zeros, all others stay."""
    rows = 1_000
    left, right = np.zeros(roomy(rows), np.int64), np.zeros(roomy(rows), np.int32)
    left[:rows], right[:rows] = np.arange(rows), 7
    pairs = Pairs()
    pairs.fill({"left": left, "right": right}, rows)
    assert pairs.n == rows
    assert pairs.nbytes == 12 * rows
    added = pairs.extend(len(left) - rows)
    assert pairs.left is left
    assert pairs.right is right
    assert added.tolist() == list(range(rows, len(left)))
    assert not left[rows:].any()
    pairs.extend(1)
    assert pairs.columns()["left"].tolist() == [*range(rows), *([0] * (len(left) - rows + 1))]
