"""The operators' door: /metrics, /health/live and /health/ready, served by a thread of their own.

A thread, so that it answers while the event loop is busy or stuck: that is when it is needed.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from libs.common.errors import Misconfigured
from libs.common.telemetry.health import Health

CLIENT_TIMEOUT_S = 10.0


class OpsServer:
    """Serves Prometheus series and health. `start` and `stop` may be called once each."""

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry = REGISTRY) -> None:
        self._address = (host, port)
        self._health = health
        self._registry = registry
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; before `start` the one that was asked for (0: any)."""
        return self._server.server_address[1] if self._server else self._address[1]

    def start(self) -> None:
        """Listen. Raises Misconfigured when the address cannot be had."""
        handler = type("Door", (_Door,), {"health": self._health, "registry": self._registry})
        try:
            self._server = ThreadingHTTPServer(self._address, handler)
        except OSError as error:
            host, port = self._address
            raise Misconfigured(
                f"telemetry: cannot listen on {host}:{port}: {error.strerror}",
                next_step="set TELEMETRY_PORT to a free port, or to 0 for any",
            ) from error
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="telemetry", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the door. Does nothing when it was never open."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Door(BaseHTTPRequestHandler):
    """Answers one request."""

    health: ClassVar[Health]
    registry: ClassVar[CollectorRegistry]
    timeout = CLIENT_TIMEOUT_S

    def do_GET(self) -> None:
        """Answer what is asked for; 404 names what there is."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, content_type, encode(self.registry))
        elif path == "/health/live":
            silent, silence_ms = self.health.silent(), round(self.health.silence_ms())
            self._answer_json(not silent, {"live": not silent, "silence_ms": silence_ms, "silent": silent})
        elif path == "/health/ready":
            reasons = self.health.reasons()
            self._answer_json(not reasons, {"ready": not reasons, "reasons": reasons})
        else:
            body = b'{"paths": ["/metrics", "/health/live", "/health/ready"]}'
            self._answer(404, "application/json", body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a scrape every few seconds is no news."""

    def _answer_json(self, good: bool, body: dict[str, object]) -> None:
        self._answer(200 if good else 503, "application/json", json.dumps(body).encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
