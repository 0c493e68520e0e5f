"""Which variant a unit falls into: the one implementation, golden vectors beside it in `vectors.json`.

u       = the first 8 bytes of SHA-256("{salt}:{unit_id}" in UTF-8), big-endian
bucket  = (u >> 11) / 2**53, so in [0, 1) and exact in a double
range i = [c_i, c_i + coverage * w_i), c_i = (weights before i) / (all weights), w_i = c_{i+1} - c_i

A range only grows at its open end, so a raised coverage moves nobody from one variant to another.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import accumulate, pairwise
from math import isfinite
from typing import Final, Literal

Hashing = Literal["trimtab", "growthbook_v2"]
Range = tuple[float, float]
Place = Callable[[str], float]
"""From a unit's id to its place in [0, 1)."""

PLACES: Final = 2**53
GROWTHBOOK_PLACES: Final = 10_000
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193
# memoryview reads units in the machine's own order.
_UTF16: Final = "utf-16-le" if sys.byteorder == "little" else "utf-16-be"


def bucket(salt: str, unit_id: str) -> float:
    """Return the place of a unit in [0, 1): the same for the same salt and id, everywhere and for ever."""
    return place_by("trimtab", salt)(unit_id)


def bucket_of(hashing: Hashing, salt: str, unit_id: str) -> float:
    """Return the place of a unit in [0, 1) by the hash that its experiment names."""
    return place_by(hashing, salt)(unit_id)


def place_by(hashing: Hashing, salt: str) -> Place:
    """Return the hash of one salt as a function of the unit's id: what the salt costs is paid here."""
    return _sha256_places(salt) if hashing == "trimtab" else _growthbook_places(salt)


def _sha256_places(salt: str) -> Place:
    # A lone surrogate is no UTF-8; it is hashed as it stands, because assigning never raises.
    prefix = f"{salt}:".encode("utf-8", "surrogatepass")

    def place(unit_id: str) -> float:
        try:
            text = unit_id.encode()
        except UnicodeEncodeError:
            text = unit_id.encode("utf-8", "surrogatepass")
        return (int.from_bytes(sha256(prefix + text).digest()[:8]) >> 11) / PLACES

    return place


def growthbook_v2(seed: str, unit_id: str) -> float:
    """Return GrowthBook's hash of version 2: FNV-1a of 32 bits, twice, one of 10,000 places in [0, 1).

    Over UTF-16 code units, as its JavaScript SDK does (docs.growthbook.io, build your own SDK).
    """
    return _growthbook_places(seed)(unit_id)


def _growthbook_places(seed: str) -> Place:
    begun = _fnv1a32(_units(seed), _FNV_OFFSET)  # the hash goes unit by unit: the seed's part is done once

    def place(unit_id: str) -> float:
        first = _fnv1a32(unit_id.encode() if unit_id.isascii() else _units(unit_id), begun)
        return _fnv1a32(b"%d" % first, _FNV_OFFSET) % GROWTHBOOK_PLACES / GROWTHBOOK_PLACES

    return place


def _units(text: str) -> Iterable[int]:
    return memoryview(text.encode(_UTF16, "surrogatepass")).cast("H")


def _fnv1a32(units: Iterable[int], value: int) -> int:
    for unit in units:
        value = ((value ^ unit) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def ranges(weights: Sequence[float], coverage: float) -> tuple[Range, ...]:
    """Return the half-open range of each variant, in the order of `weights`.

    Raises ValueError when a weight is negative or none is positive, their sum is not finite, or coverage is
    not in [0, 1].
    """
    if not 0.0 <= coverage <= 1.0:
        raise ValueError(f"coverage must be between 0 and 1, not {coverage}")
    sums = list(accumulate(weights, initial=0.0))
    if not sums[-1] > 0.0 or not isfinite(sums[-1]) or any(weight < 0.0 for weight in weights):
        raise ValueError("weights must be finite and not negative, and at least one must be positive")
    cuts = [part / sums[-1] for part in sums]
    return tuple(
        # min: rounding must never push an end into the neighbour. At full coverage the ranges tile [0, 1).
        (low, high if coverage == 1.0 else min(high, low + coverage * (high - low)))
        for low, high in pairwise(cuts)
    )


def pick(owned: Sequence[Range], place: float) -> int | None:
    """Return the index of the range that holds `place`, None when it lies outside all of them."""
    for index, (low, high) in enumerate(owned):
        if low <= place < high:
            return index
    return None
