"""One row of a table, sent to PostgreSQL piece by piece.

As an argument of a statement a body of many megabytes is copied several times in one go, and the event loop
stops for it; COPY takes it in pieces, each of which waits until the one before has left.
"""

import struct
from collections.abc import AsyncIterator, Sequence

PIECE_BYTES = 256 * 1024
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_END = struct.pack("!h", -1)


async def binary_row(fields: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Yield a row in COPY's binary format (PostgreSQL's manual, "COPY", "Binary Format"); each field as its
    type is sent: integers in network order, text and bytes as they are, jsonb behind a 1."""
    yield _SIGNATURE + struct.pack("!h", len(fields))
    for field in fields:
        yield struct.pack("!i", len(field))
        for start in range(0, len(field), PIECE_BYTES):
            yield field[start : start + PIECE_BYTES]
    yield _END
