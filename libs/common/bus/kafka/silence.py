"""Notices that no broker answers: aiokafka itself tries for ever and says nothing."""

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition as Place

from libs.common.bus.kafka.limits import LOST_AFTER_MS
from libs.common.clock import Clock
from libs.common.errors import Retryable


class Silence:
    """Measures for how long no fetch was answered, empty ones included: a live broker gives two a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_answer: tuple[int, ...] = ()
        self._since_ms = 0.0

    def note(self, consumer: AIOKafkaConsumer, places: Sequence[Place], *, heard: bool) -> None:
        """Note the end of a fetch. Raises Retryable when nothing was heard for 15 s."""
        assigned = consumer.assignment()
        answers = tuple(consumer.last_poll_timestamp(each) or 0 for each in places if each in assigned)
        if heard or answers != self._last_answer or not answers:
            self._last_answer = answers
            self._since_ms = self._clock.monotonic_ms()
        elif self._clock.monotonic_ms() - self._since_ms > LOST_AFTER_MS:
            raise Retryable(
                f"no broker has answered for {LOST_AFTER_MS // 1_000} s", next_step="wait until Kafka is back"
            )
