"""Identities: fresh ones, and ones derived from their inputs so that a replay finds them again."""

import hashlib
import secrets
from collections.abc import Callable, Iterable

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
    return hashlib.sha256(_framed(parts)).hexdigest()[:32]


def derived_ids(*parts: str | int) -> Callable[..., str]:
    """Return what gives the ids that are derived from these parts and those that it is called with: for many
    that begin alike."""
    begun = hashlib.sha256(_framed(parts))

    def derived(*rest: str | int) -> str:
        digest = begun.copy()
        digest.update(_framed(rest))
        return digest.hexdigest()[:32]

    return derived


def _framed(parts: Iterable[str | int]) -> bytes:
    texts = [str(part).encode() for part in parts]
    return b"".join([len(text).to_bytes(4, "big") + text for text in texts])
