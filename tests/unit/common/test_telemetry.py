"""Series, log lines and traces."""

import ast
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from libs.common.settings import Settings
from libs.common.telemetry import names
from libs.common.telemetry.logs import JsonFormatter, TextFormatter, Throttle
from libs.common.telemetry.setup import configure
from tests.architecture.tree import sources

BOUNDED_LABELS = {
    "topic", "partition", "method", "route", "status", "kind", "severity", "state", "cause", "reason",
    "outcome",
}  # fmt: skip
ALL = (*names.COUNTERS, *names.GAUGES, *names.HISTOGRAMS)


def test_every_series_is_well_named() -> None:
    """Names are unique and say their unit, counters count, and no label can grow without bound."""
    assert len({series.name for series in ALL}) == len(ALL)
    for series in ALL:
        assert re.fullmatch(r"trimtab_[a-z_]+", series.name)
        assert series.help.endswith(".")
        assert set(series.labels) <= BOUNDED_LABELS
    assert all(series.name.endswith("_total") for series in names.COUNTERS)
    assert all(series.name.endswith("_seconds") and series.buckets for series in names.HISTOGRAMS)


def test_the_list_holds_every_series() -> None:
    """A series that is defined is listed: the list is the whole truth."""
    assert {each for each in vars(names).values() if isinstance(each, names.Series)} == set(ALL)


def test_every_series_is_emitted() -> None:
    """Somewhere in the product each series of the list is asked for by `collector(NAME)`: none is dead."""
    emitted = {
        node.args[0].id
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "collector"
        and node.args
        and isinstance(node.args[0], ast.Name)
    }
    listed = {name for name, each in vars(names).items() if isinstance(each, names.Series)}
    assert listed - emitted == set()


def test_a_collector_is_made_once() -> None:
    """Asking twice gives the same object, and each kind of series collects what it is for."""
    registry = CollectorRegistry()
    events = names.collector(names.EVENTS_IN, registry)
    assert names.collector(names.EVENTS_IN, registry) is events
    events.labels(topic="exposures").inc(2)
    names.collector(names.LEASES, registry).set(4)
    names.collector(names.PUBLISH_DURATION, registry).observe(0.002)
    assert registry.get_sample_value("trimtab_events_in_total", {"topic": "exposures"}) == 2
    assert registry.get_sample_value("trimtab_leases") == 4
    assert registry.get_sample_value("trimtab_publish_duration_seconds_bucket", {"le": "0.0025"}) == 1


def line(message: str, *args: object, created: float = 0.0, name: str = "aiokafka") -> logging.LogRecord:
    """Return a log record of a given time in seconds."""
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, None)
    record.created = created
    return record


def test_a_log_line_is_one_json_object() -> None:
    """Time, level, service, logger and message are there; a line break in the message breaks no line."""
    text = JsonFormatter("metrics").format(line("two\nlines, Zoë %d", 7))
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "ERROR",
        "service": "metrics",
        "logger": "aiokafka",
        "message": "two\nlines, Zoë 7",
    }


def test_a_log_line_carries_its_trace_and_its_error() -> None:
    """Inside a span a line has the ids that find it in the traces; an error comes with its stack trace."""
    record = line("failed")
    with TracerProvider().get_tracer("test").start_as_current_span("work") as span:
        try:
            raise ValueError("boom")
        except ValueError:
            record.exc_info = sys.exc_info()
        parsed = json.loads(JsonFormatter("drift").format(record))
    context = span.get_span_context()
    assert parsed["trace_id"] == f"{context.trace_id:032x}"
    assert parsed["span_id"] == f"{context.span_id:016x}"
    assert parsed["error"].endswith("ValueError: boom")


def test_text_is_for_people() -> None:
    """The text form names service and logger in one line."""
    assert TextFormatter("drift").format(line("hello")).endswith("ERROR   drift aiokafka: hello")


def test_repeated_complaints_are_kept_back_and_counted() -> None:
    """The same complaint passes once in the interval, then says how often it was kept back; others pass."""
    throttle = Throttle(interval_s=10)
    assert throttle.filter(line("no %s", "broker", created=0))
    assert not throttle.filter(line("no %s", "broker", created=1))
    assert not throttle.filter(line("no %s", "node", created=9))
    assert throttle.filter(line("something else", created=9))
    again = line("no %s", "broker", created=11)
    assert throttle.filter(again)
    assert again.getMessage() == "no broker (and 2 more like it)"


def test_what_the_throttle_remembers_is_bounded() -> None:
    """Endless different complaints do not fill the memory, and all of them pass."""
    throttle = Throttle()
    assert all(throttle.filter(line(f"complaint {number}")) for number in range(3_000))
    assert len(throttle._last) <= 1_000


@pytest.fixture
def _as_before() -> Iterator[None]:
    """Put the root logger and the capture of warnings back."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)


@pytest.mark.usefixtures("_as_before")
def test_configure_twice_is_configure_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines come once, quiet clients stay quiet, and spans have ids without any collector."""
    settings = Settings(kafka_bootstrap_servers="localhost:1", log_level="INFO")
    configure("gateway", settings)
    configure("gateway", settings)
    logging.getLogger("aiokafka.consumer").info("every step")
    logging.getLogger("services.gateway").info("ready")
    (only,) = capsys.readouterr().err.splitlines()
    assert json.loads(only)["message"] == "ready"
    with trace.get_tracer("test").start_as_current_span("work") as span:
        assert span.get_span_context().is_valid


@pytest.mark.usefixtures("_as_before")
def test_text_and_throttle_are_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    """A client's complaint is throttled, our own line never."""
    configure("gateway", Settings(kafka_bootstrap_servers="localhost:1", log_format="text"))
    for _ in range(3):
        logging.getLogger("aiokafka").error("no broker")
        logging.getLogger("libs.common").error("ours")
    lines = capsys.readouterr().err.splitlines()
    assert sum(each.endswith("no broker") for each in lines) == 1
    assert sum(each.endswith("ours") for each in lines) == 3
