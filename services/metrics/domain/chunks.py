"""The copy of a state that a snapshot is made of, the memory that it is copied into, and the way back."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
BLOCK_BYTES = 4 * 1024 * 1024
"""A block is copied in about a millisecond."""
SMALL_BYTES = 256 * 1024
"""So much is copied into fresh memory: that is quick, and nothing need be kept for it."""


class Scratch:
    """Blocks of memory for one copy at a time, kept for the next.

    A copy into fresh memory was measured at up to 30 times the time of one into memory that the process
    has touched before: the operating system finds and clears the pages first, while the line stands still.
    So `reserve` is called as the state grows, and takes a block at a time.
    """

    def __init__(self) -> None:
        self._blocks: list[Bytes] = []
        self._lent = False

    def reserve(self, size: int) -> bool:
        """Take one block more, where there are too few for a copy of so many bytes; True when it did."""
        short = max(len(self._blocks) * BLOCK_BYTES, SMALL_BYTES) < size
        if short:
            self._blocks.append(_fresh())
        return short

    def lend(self, size: int) -> tuple[list[Bytes], bool]:
        """Return blocks for so many bytes, and whether they are to be given back. While those that are kept
        are lent, others are made."""
        if size <= SMALL_BYTES:
            return [np.empty(size, np.uint8)], False
        count = -(-size // BLOCK_BYTES)
        if self._lent:
            return [_fresh() for _ in range(count)], False
        while len(self._blocks) < count:
            self._blocks.append(_fresh())
        self._lent = True
        return self._blocks[:count], True

    def give_back(self) -> None:
        """Let the next copy lie here. Who calls it looks at the last one no more."""
        self._lent = False


class Chunks(Iterator[bytes]):
    """A dump: its header, then all columns as one stream of bytes in blocks. They are copies, so the state
    may change meanwhile."""

    def __init__(self, header: bytes, columns: Sequence[npt.NDArray[Any]], scratch: Scratch) -> None:
        self._header: bytes | None = header
        self._left = sum(column.nbytes for column in columns)
        blocks, lent = scratch.lend(self._left)
        self._scratch = scratch if lent else None
        _pour(columns, blocks)
        self._blocks = blocks[::-1]

    def __next__(self) -> bytes:
        """Return the next chunk."""
        if self._header is not None:
            header, self._header = self._header, None
            return header
        if not self._left:
            self.close()
            raise StopIteration
        chunk: bytes = self._blocks.pop()[: self._left].tobytes()
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Let go of the copies. Once is enough, twice does no harm."""
        self._header, self._left, self._blocks = None, 0, []
        if self._scratch is not None:
            self._scratch.give_back()
            self._scratch = None


class Stream:
    """The bytes of a dump behind its header, to be read column by column."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read_into(self, target: Bytes) -> bool:
        """Fill an array with the bytes that follow; False when there are fewer."""
        start = 0
        while start < len(target):
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    return False
            part = self._rest[: len(target) - start]
            target[start : start + len(part)] = np.frombuffer(part, np.uint8)
            start += len(part)
            self._rest = self._rest[len(part) :]
        return True


def _fresh() -> Bytes:
    block = np.empty(BLOCK_BYTES, np.uint8)
    block[:] = 1  # touches every page, which `zeros` leaves for later
    return block


def _pour(columns: Sequence[npt.NDArray[Any]], blocks: Sequence[Bytes]) -> None:
    """Copy the columns into the blocks, one after the other without gaps."""
    at = 0
    for column in columns:
        whole, start = column.view(np.uint8), 0
        while start < len(whole):
            block, place = divmod(at, BLOCK_BYTES)
            part = whole[start : start + BLOCK_BYTES - place]
            blocks[block][place : place + len(part)] = part
            start += len(part)
            at += len(part)
