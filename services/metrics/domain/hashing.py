"""Ids as 64-bit hashes (XXH3), many at a time.

What is remembered of a unit, an event or a name is its hash, not its text. Two of ten million units share one
with a chance of 1 in 400,000; they would then be counted as one.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import xxhash

from services.metrics.domain.columns import U64

_OF_UNIT = np.uint64(0xC2B2AE3D27D4EB4F)  # odd constants of xxHash: they keep equal ids of a unit, an event
_OF_EXPERIMENT = np.uint64(0x165667B19E3779F9)  # and an experiment from cancelling each other out


@lru_cache(maxsize=10_000)
def hash_of(name: str) -> int:
    """Return the 64-bit hash of one name."""
    return xxhash.xxh3_64_intdigest(name.encode())


def hashes_of(names: Iterable[str]) -> U64:
    """Return the hashes of many names."""
    digests = b"".join(map(xxhash.xxh3_64_digest, map(str.encode, names)))
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def of_unit(events: U64, units: U64) -> U64:
    """Return keys of events, each within its unit. The same again gives the events back."""
    return events ^ (units * _OF_UNIT)


def of_experiment(events: U64, experiments: U64) -> U64:
    """Return keys of events, each within its experiment."""
    return events ^ (experiments * _OF_EXPERIMENT)
