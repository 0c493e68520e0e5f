"""Counts what the judge told, for telemetry."""

from collections.abc import Sequence

from libs.common.bus.ports import Message
from libs.common.telemetry.names import ALERTS, DEGRADATIONS, collector
from schemas.health import Alert, Degradation


def count_told(messages: Sequence[Message]) -> None:
    """Count alerts and degradations; to be called when it is certain that they are told."""
    for message in messages:
        if message.value is None:
            continue
        if message.topic == "alerts":
            alert = Alert.model_validate_json(message.value)
            collector(ALERTS).labels(severity=alert.severity, state=alert.state).inc()
        elif message.topic == "degradations":
            degradation = Degradation.model_validate_json(message.value)
            collector(DEGRADATIONS).labels(cause=degradation.cause).inc()
