"""A gateway and an assignment service in memory, which a test may script."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from trimtab import Trimtab

Reply = httpx.Response | httpx.HTTPError
Script = Callable[[list[dict[str, Any]]], Reply]
Maker = Callable[..., Trimtab]

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


def accept(events: list[dict[str, Any]]) -> Reply:
    """Accept everything."""
    return httpx.Response(202, json={"accepted": len(events), "rejected": []})


class Services(httpx.BaseTransport):
    """Both services, in memory: what arrived, and answers that a test may script."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.script: list[Script] = []
        self.always: Script = accept
        self.rules: dict[str, Any] | None = RULES
        self.rule_requests: list[str | None] = []
        self.lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as the two services do."""
        if request.url.path == "/v1/rules":
            return self._rules(request)
        assert request.url.path == "/v1/events"
        with self.lock:
            events = json.loads(request.read())["events"]
            self.batches.append(events)
            step = self.script.pop(0) if self.script else self.always
        reply = step(events)
        if isinstance(reply, httpx.HTTPError):
            raise reply
        return reply

    def _rules(self, request: httpx.Request) -> httpx.Response:
        known = request.headers.get("if-none-match")
        self.rule_requests.append(known)
        if self.rules is None:
            raise httpx.ConnectError("nobody listens")
        etag = f'"{self.rules["revision"]}"'
        if known == etag:
            return httpx.Response(304)
        return httpx.Response(200, json=self.rules, headers={"etag": etag})

    def events(self) -> list[dict[str, Any]]:
        """Return every event that arrived, repetitions included."""
        return [event for batch in self.batches for event in batch]


def until(holds: Callable[[], bool]) -> None:
    """Wait for a state, at most ten seconds."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.002)


def busy(_events: list[dict[str, Any]]) -> Reply:
    """Answer 503 without outcomes."""
    return httpx.Response(503, text="busy")
