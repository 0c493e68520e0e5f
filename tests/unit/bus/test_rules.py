"""Partitions are shared out as Kafka does it."""

import pytest
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from hypothesis import given
from hypothesis import strategies as st

from libs.common.bus.ports import Message, TopicPartition
from libs.common.bus.rules import check_unit_topics, message_bytes, overtaken, share_out
from libs.common.errors import Misconfigured

PARTITIONS = {"a": 4, "b": 4, "c": 1}
MEMBERS = st.dictionaries(
    st.text("xyz", min_size=1, max_size=3),
    st.frozensets(st.sampled_from(sorted(PARTITIONS)), min_size=1),
    min_size=1,
    max_size=5,
)


class _Cluster:
    def partitions_for_topic(self, topic: str) -> set[int]:
        """Return the partition numbers, as aiokafka's cluster metadata does."""
        return set(range(PARTITIONS[topic]))


@given(topics=MEMBERS)
def test_shares_are_those_of_the_range_assignor(topics: dict[str, frozenset[str]]) -> None:
    """Whoever joins, reading whatever, gets exactly what aiokafka's range assignor gives."""
    metadata = {member: RangePartitionAssignor.metadata(each) for member, each in topics.items()}
    expected = {
        member: {TopicPartition(*each) for each in assignment.partitions()}
        for member, assignment in RangePartitionAssignor.assign(_Cluster(), metadata).items()
    }
    assert share_out(list(topics), topics, PARTITIONS) == expected


def test_unit_topics_must_be_equally_wide() -> None:
    """Different numbers of partitions of two unit-keyed topics are named in the error; others are free. The
    way out keeps units where their state is: no partitions are added."""
    check_unit_topics({"exposures": 8, "conversions": 8, "models": 1})
    with pytest.raises(Misconfigured, match="'conversions': 4") as error:
        check_unit_topics({"exposures": 8, "conversions": 4})
    assert "delete the one that is still empty" in error.value.next_step


def test_sizes_are_in_bytes() -> None:
    """Key, value and headers count in UTF-8."""
    assert message_bytes(Message("models", "ü", b"123", {"a": "ö"})) == 2 + 3 + 3
    assert message_bytes(Message("models", "k", None)) == 1


def test_an_overtaken_reader_is_told_what_to_do() -> None:
    """The error names the partition and both offsets, and the way out."""
    error = overtaken(TopicPartition("exposures", 2), 5, 9, 20)
    assert "exposures-2" in error.message
    assert "5" in error.message
    assert "9" in error.message
    assert "snapshot" in error.next_step
