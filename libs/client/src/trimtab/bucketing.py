"""Which variant a unit falls into: the one implementation, golden vectors beside it in `vectors.json`.

u       = the first 8 bytes of SHA-256("{salt}:{unit_id}" in UTF-8), big-endian
bucket  = (u >> 11) / 2**53, so in [0, 1) and exact in a double
range i = [c_i, c_i + coverage * w_i), c_i = (weights before i) / (all weights), w_i = c_{i+1} - c_i

A range only grows at its open end, so a raised coverage moves nobody from one variant to another.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal

Hashing = Literal["trimtab", "growthbook_v2"]
Range = tuple[float, float]


def bucket(salt: str, unit_id: str) -> float:
    """Return the place of a unit in [0, 1): the same for the same salt and id, everywhere and for ever."""
    # A lone surrogate is no UTF-8; it is hashed as it stands, because assigning never raises.
    text = f"{salt}:{unit_id}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 11) / 9_007_199_254_740_992


def bucket_of(hashing: Hashing, salt: str, unit_id: str) -> float:
    """Return the place of a unit in [0, 1) by the hash that its experiment names."""
    return bucket(salt, unit_id) if hashing == "trimtab" else growthbook_v2(salt, unit_id)


def growthbook_v2(seed: str, unit_id: str) -> float:
    """Return GrowthBook's hash of version 2: FNV-1a of 32 bits, twice, one of 10,000 places in [0, 1).

    Over UTF-16 code units, as its JavaScript SDK does (docs.growthbook.io, build your own SDK).
    """
    return (_fnv1a32(str(_fnv1a32(seed + unit_id))) % 10_000) / 10_000


def _fnv1a32(text: str) -> int:
    units = memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")
    value = 0x811C9DC5
    for unit in units:
        value = ((value ^ unit) * 0x01000193) & 0xFFFFFFFF
    return value


def ranges(weights: Sequence[float], coverage: float) -> tuple[Range, ...]:
    """Return the half-open range of each variant, in the order of `weights`.

    Raises ValueError when a weight is negative or none is positive, or coverage is not in [0, 1].
    """
    if not 0.0 <= coverage <= 1.0:
        raise ValueError(f"coverage must be between 0 and 1, not {coverage}")
    sums = list(accumulate(weights, initial=0.0))
    if not sums[-1] > 0.0 or any(weight < 0.0 for weight in weights):
        raise ValueError("weights must not be negative, and at least one must be positive")
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
