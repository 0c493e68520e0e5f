"""The thread that keeps the rule set fresh: fetched at start, then asked for with its ETag."""

import logging
import threading
from typing import Any

import httpx

from trimtab.clock import monotonic_ms
from trimtab.rules import BadRules, Rules, parse

log = logging.getLogger("trimtab")

_OK, _NOT_MODIFIED = 200, 304


class Refresher:
    """Holds the newest rule set that could be had. `rules` is None until the first arrives."""

    def __init__(self, http: httpx.Client, url: str, interval_ms: float) -> None:
        self._http = http
        self._url = url
        self._interval_ms = interval_ms
        self._etag = ""
        self._fresh_at_ms: float | None = None
        self._stopping = threading.Event()
        self._first = threading.Event()
        self._thread: threading.Thread | None = None
        self.rules: Rules | None = None
        self.error = ""

    def start(self, deadline_ms: float) -> bool:
        """Start the thread and wait for the first rule set. False: it did not come in time; it still may."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="trimtab-rules", daemon=True)
            self._thread.start()
        return self._first.wait(deadline_ms / 1_000)

    def close(self, deadline_ms: float) -> None:
        """End the thread; the rules stay as they are."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(deadline_ms / 1_000)

    def running(self) -> bool:
        """True while the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def age_ms(self) -> float | None:
        """Return the time since the rule set was last known to be the newest; None before the first."""
        return None if self._fresh_at_ms is None else monotonic_ms() - self._fresh_at_ms

    def refresh(self) -> None:
        """Ask once. Raises nothing: whatever goes wrong, the rules at hand stay in force."""
        # The age counts from before the question: that is when the answer was certainly true.
        asked_at_ms = monotonic_ms()
        try:
            headers = {"if-none-match": self._etag} if self._etag else {}
            response = self._http.get(self._url, headers=headers)
            if response.status_code == _OK:
                self.rules = parse(_json(response))
                self._etag = response.headers.get("etag", "")
            elif response.status_code != _NOT_MODIFIED or self.rules is None:
                raise BadRules(f"the assignment service answered {response.status_code}")
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, BadRules) as error:
            self._failed(f"{type(error).__name__}: {error}")
            return
        self._fresh_at_ms, self.error = asked_at_ms, ""
        self._first.set()

    def _failed(self, error: str) -> None:
        if not self.error:  # once per outage
            log.warning("trimtab: the rules cannot be refreshed, those at hand stay in force: %s", error)
        self.error = error

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.refresh()
            self._stopping.wait(self._interval_ms / 1_000)


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise BadRules(f"not JSON: {error}") from error
