"""Identities: fresh ones, and ones derived from their inputs so that a replay finds them again."""

import hashlib
import secrets

from libs.common.clock import Clock


def new_id(clock: Clock) -> str:
    """Return a fresh UUID of version 7 (RFC 9562): sortable by time, 74 random bits."""
    value = (clock.now_ms() & ((1 << 48) - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def derived_id(*parts: str | int) -> str:
    """Return 32 hexadecimal digits that depend on the parts alone: same inputs, same id, everywhere.

    Each part is preceded by its length, so ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = str(part).encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.hexdigest()[:32]
