"""A gateway and an assignment service over real HTTP, in a thread of the test."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RULES: dict[str, Any] = {
    "revision": 7,
    "experiments": [
        {
            "experiment_id": "digits-v2",
            "revision": 3,
            "closed": "",
            "salt": "digits-v2",
            "coverage": 1.0,
            "control": "champion",
            "defers_to": "",
            "variants": [
                {"key": "champion", "weight": 1.0, "model_version": "1", "payload": None},
                {"key": "challenger", "weight": 1.0, "model_version": "2", "payload": None},
            ],
        }
    ],
    "models": [{"model": "digits", "champion": "1", "experiment_id": "digits-v2"}],
}


class Server:
    """Both services at one address. `events` holds what arrived, repetitions included."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.silent = threading.Event()
        """Set: requests are taken and not answered."""
        self._over = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, RULES)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if server.silent.is_set():
                    server._over.wait()
                    self.close_connection = True
                    return
                server.events.extend(body["events"])
                self._answer(202, {"accepted": len(body["events"]), "rejected": []})

            def _answer(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler
