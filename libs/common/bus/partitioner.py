"""Which partition a key belongs to: murmur2, as Kafka's own clients compute it.

The formula is `org.apache.kafka.common.utils.Utils.murmur2` of Apache Kafka and its built-in partitioner:
(murmur2(key) & 0x7fffffff) mod partitions. Java, Python and librdkafka's `murmur2_random` agree.
"""

from collections.abc import Sequence
from struct import unpack_from

_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_ALL = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of `data`, unsigned."""
    length = len(data)
    whole = length & ~3
    value = _SEED ^ length
    for word in unpack_from(f"<{length >> 2}I", data):
        block = word * _MIX & _ALL
        value = value * _MIX & _ALL ^ (block ^ block >> 24) * _MIX & _ALL
    if whole < length:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MIX & _ALL
    value = (value ^ value >> 13) * _MIX & _ALL
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of `key` among `partitions` (at least 1)."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def choose_partition(key: bytes, every: Sequence[int], available: Sequence[int]) -> int:
    """Return the partition of `key`; the signature is the one that aiokafka calls. Whether a partition has
    a leader at the moment (`available`) changes nothing: a key never moves."""
    return sorted(every)[partition_of(key, len(every))]
