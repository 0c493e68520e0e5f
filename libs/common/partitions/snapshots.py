"""A snapshot as it is stored: compressed, and sealed with a checksum over everything that it says."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import zstandard

from libs.common.errors import Misconfigured, Poison, Refused

FORMAT = 1
"""zstd; SHA-256 over format, partition, offsets and body."""
MAX_BODY_BYTES = 512 * 1024 * 1024
"""Compressed. PostgreSQL holds up to 1 GB in a field, and both sides copy it."""
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is stored of a partition's state at `offsets` (topic to next offset)."""

    partition: int
    offsets: Mapping[str, int]
    format: int
    checksum: bytes
    body: bytes


def seal(partition: int, offsets: Mapping[str, int], dump: bytes) -> Snapshot:
    """Return `dump` compressed and sealed. Raises Refused above 512 MiB. Takes seconds per GB of dump:
    call it in a thread."""
    body = zstandard.ZstdCompressor(level=_LEVEL).compress(dump)
    if len(body) > MAX_BODY_BYTES:
        raise Refused(
            f"the snapshot of partition {partition} has {len(body)} bytes, more than {MAX_BODY_BYTES}",
            next_step="spread the load over more partitions, or keep less state (shorter windows)",
        )
    return Snapshot(partition, dict(offsets), FORMAT, _checksum(partition, offsets, FORMAT, body), body)


def unseal(snapshot: Snapshot) -> bytes:
    """Return the dump. Raises Poison when the snapshot is not what was sealed, Misconfigured when a newer
    program wrote it."""
    if snapshot.format > FORMAT:
        raise Misconfigured(
            f"the snapshot of partition {snapshot.partition} has format {snapshot.format}; "
            f"this program reads up to {FORMAT}",
            next_step="run the newer program, or delete the snapshot to replay from the log",
        )
    expected = _checksum(snapshot.partition, snapshot.offsets, snapshot.format, snapshot.body)
    if expected != snapshot.checksum:
        raise Poison(f"the checksum of a snapshot of partition {snapshot.partition} does not match")
    try:
        return zstandard.ZstdDecompressor().decompress(snapshot.body)
    except zstandard.ZstdError as error:
        raise Poison(f"a snapshot of partition {snapshot.partition} does not unpack: {error}") from error


def _checksum(partition: int, offsets: Mapping[str, int], number: int, body: bytes) -> bytes:
    header = json.dumps([number, partition, sorted(offsets.items())]).encode()
    digest = hashlib.sha256(len(header).to_bytes(4, "big") + header)
    digest.update(body)
    return digest.digest()
