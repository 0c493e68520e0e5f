"""Sets a process up to be watched: logs and traces. Series are in `names.py`, health in `health.py`."""

import logging
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_NAMESPACE, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from libs.common.settings import Settings
from libs.common.telemetry.logs import JsonFormatter, TextFormatter, Throttle

NAMESPACE = "trimtab"
EXPORT_TIMEOUT_S = 3
"""A collector that does not answer may not hold up the end of a process for longer."""

# Clients that tell of every step at INFO, or repeat a complaint many times a second while a broker is away.
QUIET_LOGGERS = ("aiokafka", "faust", "mode", "httpx", "httpcore", "mlflow", "urllib3", "uvicorn")


def configure(service: str, settings: Settings) -> None:
    """Send logs to standard error and give spans their ids; export spans when an endpoint is set.

    `service` names the process in every line and span. May be called again: the last call holds for logs;
    the tracer provider of the first call stays.
    """
    _configure_logs(service, settings)
    _configure_traces(service, settings.otel_exporter_otlp_endpoint)


def _configure_logs(service: str, settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service) if settings.log_format == "json" else TextFormatter(service))
    handler.addFilter(_ThirdParty())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


class _ThirdParty(Throttle):
    """Throttles the clients' complaints, never our own lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a client's repetition."""
        return not record.name.startswith(QUIET_LOGGERS) or super().filter(record)


def _configure_traces(service: str, endpoint: str) -> None:
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service, SERVICE_NAMESPACE: NAMESPACE}))
    if endpoint:
        # Only now: it costs a fifth of a second that most processes need not spend.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
