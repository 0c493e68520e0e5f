"""The index from keys to rows, held to a dictionary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.index import Index

BATCHES = st.lists(st.integers(1, 400), min_size=1, max_size=60)


class Book:
    """A column of keys with its index, and the dictionary that says what the index must say."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.keys = np.zeros(60 * 400 + 1, np.uint64)
        self.index = Index()
        self.truth: dict[int, int] = {}
        self.n = 0

    def fresh(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        """Return keys that are not in the book; half of them differ in few bits only."""
        near = self.random.integers(0, 1 << 20, count, np.uint64)
        far = self.random.integers(0, 1 << 63, count, np.uint64)
        mixed = np.unique(np.where(self.random.random(count) < 0.5, near, far))
        return mixed[[int(key) not in self.truth for key in mixed]]

    def add(self, count: int) -> None:
        """Add so many rows under new keys."""
        keys = self.fresh(count)
        rows = np.arange(self.n, self.n + len(keys))
        self.n += len(keys)
        self.keys[rows] = keys
        self.index.add(self.keys, rows)
        self.truth |= dict(zip(keys.tolist(), rows.tolist(), strict=True))

    def overwrite(self, count: int) -> None:
        """Give rows that there are another key, and add them again."""
        rows = np.unique(self.random.integers(0, self.n, count))
        keys = self.fresh(len(rows))
        rows = rows[: len(keys)]
        for row in rows:
            del self.truth[int(self.keys[row])]
        self.keys[rows] = keys
        self.index.add(self.keys, rows)
        self.truth |= dict(zip(keys.tolist(), rows.tolist(), strict=True))

    def check(self) -> None:
        """Every key finds its row, and keys that are not there find nothing."""
        known = np.array(list(self.truth), np.uint64)
        assert self.index.find(self.keys, known).tolist() == list(self.truth.values())
        assert set(self.index.find(self.keys, self.fresh(50)).tolist()) <= {-1}


@given(BATCHES, st.integers(0, 2**32 - 1))
def test_every_key_finds_its_row(batches: list[int], seed: int) -> None:
    """Whatever is added in whichever portions, while the slots grow too, each key finds its row and no other
    key finds any; so it is for rows that get another key."""
    book = Book(seed)
    for place, count in enumerate(batches):
        book.add(count)
        if place % 3 == 2:
            book.overwrite(count // 4 + 1)
        book.check()


@given(BATCHES, st.integers(0, 2**32 - 1))
def test_rebuilt_is_the_same(batches: list[int], seed: int) -> None:
    """An index that is made anew from the column finds what the grown one finds, and grows on."""
    book = Book(seed)
    for count in batches[:-1]:
        book.add(count)
    book.index.rebuild(book.keys, book.n)
    book.check()
    book.add(batches[-1])
    book.check()


def test_growth_is_spread_over_calls() -> None:
    """When the slots grow, old and new ones answer for a while, and the old ones go without more rows."""
    book = Book(1)
    while not len(book.index._before):
        book.add(400)
    book.check()
    keys = np.array(list(book.truth), np.uint64)
    for _ in range(100):
        book.index.find(book.keys, keys)
    assert not len(book.index._before)
    book.check()
