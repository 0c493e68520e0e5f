"""Control events carry CloudEvents and trace headers."""

import json

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from libs.common.bus.control import control_message, handling, trace_context
from libs.common.bus.ports import Message, Record
from libs.common.clock import ManualClock
from schemas.facts import Conversion

EVENT = Conversion(event_id="e1", occurred_at_ms=1_700_000_000_123, unit_id="u", name="purchase")
TRACE_ID, SPAN_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


def made() -> Message:
    """Return the message of EVENT."""
    return control_message("conversions", "u", EVENT, source="gateway", clock=ManualClock())


def received(message: Message) -> Record:
    """Return the message as it is read."""
    headers = tuple((name, text.encode()) for name, text in message.headers.items())
    return Record(message.topic, 0, 0, 0, message.key.encode(), message.value, headers)


def test_the_headers_are_those_of_cloudevents_in_binary_mode() -> None:
    """Specification version, id, source, type, time of the occurrence and content type are stated."""
    headers = made().headers
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_source"] == "/trimtab/gateway"
    assert headers["ce_type"] == "trimtab.conversion"
    assert headers["ce_time"] == "2023-11-14T22:13:20.123+00:00"
    assert headers["content-type"] == "application/json"
    assert "traceparent" not in headers


def test_the_same_event_has_the_same_identity() -> None:
    """Sending again gives the same id, another event another one; the value is the event as JSON."""
    other = EVENT.model_copy(update={"event_id": "e2"})
    again = control_message("conversions", "u", other, source="gateway", clock=ManualClock())
    assert made() == made()
    assert made().headers["ce_id"] != again.headers["ce_id"]
    assert Conversion.model_validate_json(made().value or b"") == EVENT
    assert json.loads(made().value or b"")["name"] == "purchase"


def test_the_trace_goes_on_at_the_reader() -> None:
    """What is handled is in the trace of whoever sent it."""
    parent = SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(1))
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
    try:
        message = made()
    finally:
        context.detach(token)
    assert message.headers["traceparent"] == f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-01"
    record = received(message)
    assert trace.get_current_span(trace_context(record)).get_span_context().span_id == SPAN_ID
    with handling(record):
        assert trace.get_current_span().get_span_context().trace_id == TRACE_ID
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_record_without_headers_starts_a_trace_of_its_own() -> None:
    """Facts carry no trace: handling them works all the same."""
    with handling(Record("conversions", 0, 0, 0, None, b"{}")):
        assert not trace.get_current_span(trace_context(Record("c", 0, 0, 0, None, b""))).is_recording()
