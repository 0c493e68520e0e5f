"""The gateway as the demo sees it: HTTP and JSON, waiting for a state with a deadline."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

Json = dict[str, Any]
FoundT = TypeVar("FoundT")


class ActFailed(Exception):
    """An act did not achieve what it announced; the message says what was missing."""


class Api:
    """Reads and asks through the gateway. A gateway that restarts is waited for."""

    def __init__(self, gateway_url: str, still_well: Callable[[], None]) -> None:
        self.url = gateway_url
        self._http = httpx.Client(base_url=gateway_url, timeout=5)
        self._still_well = still_well

    def get(self, path: str) -> Json | None:
        """Return the JSON at `path`, None when it is not there (yet) or the gateway is away."""
        try:
            response = self._http.get(path)
        except httpx.HTTPError:
            return None
        if response.status_code in (404, 503):
            return None
        if response.is_error:
            raise ActFailed(f"GET {path} answered {response.status_code}: {response.text[:300]}")
        body: Json = response.json()
        return body

    def send(self, method: str, path: str, body: Json) -> Json:
        """Send a command until it is taken; a refusal fails the act."""

        def attempt() -> Json | None:
            try:
                response = self._http.request(method, path, json=body)
            except httpx.HTTPError:
                return None
            if response.status_code in (502, 503):
                return None
            if response.is_error:
                raise ActFailed(f"{method} {path} answered {response.status_code}: {response.text[:300]}")
            answer: Json = response.json()
            return answer

        return self.wait(f"{method} {path} to be taken", attempt, deadline_s=60)

    def wait(self, what: str, look: Callable[[], FoundT | None], *, deadline_s: float) -> FoundT:
        """Return what `look` finds as soon as it finds something. Raises ActFailed after `deadline_s`."""
        until = time.monotonic() + deadline_s
        while True:
            self._still_well()
            found = look()
            if found is not None:
                return found
            if time.monotonic() > until:
                raise ActFailed(f"waited {deadline_s:.0f} s in vain for {what}")
            time.sleep(0.2)

    def model(self, name: str) -> Json | None:
        """Return `{"model", "health", "retrainings"}` of a model."""
        return self.get(f"/v1/models/{name}")

    def experiment(self, experiment_id: str) -> Json | None:
        """Return `{"experiment", "result", "verdicts", "rollbacks"}` of an experiment."""
        return self.get(f"/v1/experiments/{experiment_id}")
