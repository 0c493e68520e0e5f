"""Log lines: one JSON object each (or plain text), with the trace that they belong to."""

import json
import logging
from datetime import UTC, datetime

from opentelemetry import trace

THROTTLE_INTERVAL_S = 10.0
MAX_REMEMBERED = 1_000


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, service, logger, message; `trace_id` and `span_id` inside a
    span; `error` with the stack trace when there is one."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = trace.format_trace_id(context.trace_id)
            line["span_id"] = trace.format_span_id(context.span_id)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, service, logger, message."""

    def __init__(self, service: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {service} %(name)s: %(message)s")


class Throttle(logging.Filter):
    """Lets the same complaint of one logger through once in 10 s, and then says how many it kept back.

    A client that has lost its broker repeats itself ten times a second.
    """

    def __init__(self, interval_s: float = THROTTLE_INTERVAL_S) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._last: dict[tuple[str, int, str], float] = {}
        self._kept_back: dict[tuple[str, int, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a repetition within the interval."""
        key = (record.name, record.levelno, str(record.msg))
        last = self._last.get(key)
        if last is not None and record.created - last < self._interval_s:
            self._kept_back[key] = self._kept_back.get(key, 0) + 1
            return False
        if len(self._last) >= MAX_REMEMBERED:
            self._last.clear()
        self._last[key] = record.created
        if repeated := self._kept_back.pop(key, 0):
            record.msg = f"{record.getMessage()} (and {repeated} more like it)"
            record.args = None
        return True
