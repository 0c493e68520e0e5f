"""Control events on the bus: JSON values with CloudEvents 1.0 headers (Kafka binding, binary mode) and the
W3C trace context, so that one trace follows a verdict through all services."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from opentelemetry import propagate, trace
from opentelemetry.context import Context

from libs.common.bus.ports import Message, Record
from libs.common.clock import Clock
from libs.common.ids import derived_id
from schemas.event import Contract

_TYPE_PREFIX = "trimtab."
_tracer = trace.get_tracer(__name__)


def control_message(topic: str, key: str, event: Contract, *, source: str, clock: Clock) -> Message:
    """Return the message that carries `event`: the same event gives the same value and `ce_id`.

    `source` names the service; `ce_time` is when the event occurred, now where it does not say. The trace
    headers are those of the current span, none without one.
    """
    value = event.to_json()
    kind = str(getattr(event, "type", type(event).__name__.lower()))
    occurred_at_ms = getattr(event, "occurred_at_ms", None)
    headers = cloud_event_headers(
        kind,
        event_id=derived_id(topic, key, value.decode()),
        source=source,
        time_ms=clock.now_ms() if occurred_at_ms is None else occurred_at_ms,
    )
    return Message(topic, key, value, headers)


def cloud_event_headers(kind: str, *, event_id: str, source: str, time_ms: int) -> dict[str, str]:
    """Return CloudEvents 1.0 headers for an event of this kind, and the current trace context."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": f"/trimtab/{source}",
        "ce_type": _TYPE_PREFIX + kind,
        "ce_time": datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat(timespec="milliseconds"),
        "content-type": "application/json",
    }
    propagate.inject(headers)
    return headers


def trace_context(record: Record) -> Context:
    """Return the trace context that the record carries; an empty one when it carries none."""
    carrier = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    return propagate.extract(carrier)


@contextmanager
def handling(record: Record) -> Iterator[None]:
    """Let what happens inside be a span of the trace that the record belongs to."""
    with _tracer.start_as_current_span(
        f"{record.topic} process",
        context=trace_context(record),
        kind=trace.SpanKind.CONSUMER,
        attributes={
            "messaging.system": "kafka",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        },
    ):
        yield
