"""A snapshot as it is stored: compressed chunk by chunk, and sealed with a checksum over all that it says."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import zstandard

from libs.common.errors import Misconfigured, Poison, Refused

FORMAT = 2
"""Each chunk is a zstd frame behind its length (8 bytes, big-endian); SHA-256 over format, partition, offsets
and body. Format 1, which is still read, was one frame without a length."""
MAX_BODY_BYTES = 512 * 1024 * 1024
"""Compressed. PostgreSQL holds up to 1 GB in a field, and both sides copy it."""
_LEVEL = 1
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is stored of a partition's state at `offsets` (topic to next offset)."""

    partition: int
    offsets: Mapping[str, int]
    format: int
    checksum: bytes
    body: bytes


class Sealer:
    """Makes a snapshot out of chunks as they come. Its methods take milliseconds per MB and may be called in
    a thread, one at a time."""

    def __init__(self, partition: int, offsets: Mapping[str, int]) -> None:
        self._partition = partition
        self._offsets = dict(offsets)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._digest = _digest(partition, offsets, FORMAT)
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Add the next chunk. Raises Refused when the body grows above 512 MiB."""
        frame = self._compressor.compress(chunk)
        for part in (len(frame).to_bytes(_LENGTH_BYTES, "big"), frame):
            self._digest.update(part)
            self._parts.append(part)
            self._size += len(part)
        if self._size > MAX_BODY_BYTES:
            raise Refused(
                f"the snapshot of partition {self._partition} has more than {MAX_BODY_BYTES} bytes",
                next_step="spread the load over more partitions, or keep less state (shorter windows)",
            )

    def sealed(self) -> Snapshot:
        """Return the snapshot of all chunks that were added."""
        body = b"".join(self._parts)
        return Snapshot(self._partition, self._offsets, FORMAT, self._digest.digest(), body)


def seal(partition: int, offsets: Mapping[str, int], chunks: Iterable[bytes]) -> Snapshot:
    """Return all chunks compressed and sealed. Raises Refused above 512 MiB."""
    sealer = Sealer(partition, offsets)
    for chunk in chunks:
        sealer.add(chunk)
    return sealer.sealed()


def unseal(snapshot: Snapshot) -> Iterator[bytes]:
    """Verify the snapshot, then return its chunks as they were cut; each is unpacked when it is asked for.

    The check comes before this returns and takes seconds per GB: call it in a thread. Raises Poison when the
    snapshot is not what was sealed, Misconfigured when a newer program wrote it.
    """
    if snapshot.format > FORMAT:
        raise Misconfigured(
            f"the snapshot of partition {snapshot.partition} has format {snapshot.format}; "
            f"this program reads up to {FORMAT}",
            next_step="run the newer program, or delete the snapshot to replay from the log",
        )
    digest = _digest(snapshot.partition, snapshot.offsets, snapshot.format)
    digest.update(snapshot.body)
    if digest.digest() != snapshot.checksum:
        raise Poison(f"the checksum of a snapshot of partition {snapshot.partition} does not match")
    body = memoryview(snapshot.body)
    return _unpacked(snapshot.partition, [body] if snapshot.format == 1 else _frames(body))


def _frames(body: memoryview) -> Iterator[memoryview]:
    start = 0
    while start < len(body):
        begin = start + _LENGTH_BYTES
        start = begin + int.from_bytes(body[start:begin], "big")
        yield body[begin:start]


def _unpacked(partition: int, frames: Iterable[memoryview]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor()
    for frame in frames:
        try:
            yield decompressor.decompress(frame)
        except zstandard.ZstdError as error:
            raise Poison(f"a snapshot of partition {partition} does not unpack: {error}") from error


def _digest(partition: int, offsets: Mapping[str, int], number: int) -> "hashlib._Hash":
    header = json.dumps([number, partition, sorted(offsets.items())]).encode()
    return hashlib.sha256(len(header).to_bytes(4, "big") + header)
