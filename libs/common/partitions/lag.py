"""How far behind the log we are, as telemetry."""

from collections.abc import Mapping

from libs.common.bus.ports import TopicPartition
from libs.common.telemetry.names import LAG, collector


class Lag:
    """Shows the lag of the partitions that are ours; those that are not any more disappear."""

    def __init__(self) -> None:
        self._shown: set[TopicPartition] = set()

    def show(self, offsets: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> None:
        """Show, for each partition, the records between the next offset to fold and the end of its log."""
        gauge = collector(LAG)
        for topic, number in self._shown - offsets.keys():
            gauge.remove(topic, str(number))
        for place, offset in offsets.items():
            gauge.labels(place.topic, str(place.partition)).set(max(ends[place] - offset, 0))
        self._shown = set(offsets)
