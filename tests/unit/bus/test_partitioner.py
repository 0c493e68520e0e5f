"""Keys go where Kafka's own clients put them."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from libs.common.bus.partitioner import choose_partition, murmur2, partition_of

# The vectors of org.apache.kafka.common.utils.UtilsTest, as signed 32-bit integers.
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), VECTORS.items())
def test_the_published_vectors_hold(key: bytes, expected: int) -> None:
    """murmur2 gives what Apache Kafka's own test states."""
    assert murmur2(key) == expected & 0xFFFFFFFF


@given(key=st.binary(max_size=64), partitions=st.integers(1, 64))
def test_it_agrees_with_aiokafka(key: bytes, partitions: int) -> None:
    """Hash and partition are those of aiokafka's default partitioner, whichever leaders are there."""
    assert murmur2(key) == aiokafka_murmur2(key)
    every = list(range(partitions))
    expected = DefaultPartitioner()(key, every, every)
    assert partition_of(key, partitions) == expected
    assert choose_partition(key, every[::-1], []) == expected
