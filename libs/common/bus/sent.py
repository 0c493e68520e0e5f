"""Counts what was sent, for telemetry: one place, so that the implementations of the bus cannot differ."""

from collections import Counter
from collections.abc import Sequence

from libs.common.bus.ports import Message, Position
from libs.common.errors import Refused, Retryable
from libs.common.telemetry.names import EVENTS_NOT_OUT, EVENTS_OUT, collector


def counted(
    messages: Sequence[Message], answers: list[Position | Retryable | Refused]
) -> list[Position | Retryable | Refused]:
    """Return `answers`, having counted by topic how many of `messages` were taken and how many were not."""
    outcomes = Counter(
        (message.topic, isinstance(answer, Position))
        for message, answer in zip(messages, answers, strict=True)
    )
    for (topic, taken), count in outcomes.items():
        counter = collector(EVENTS_OUT) if taken else collector(EVENTS_NOT_OUT)
        counter.labels(topic).inc(count)
    return answers
