"""The thread that keeps the rule set fresh: fetched at start, then asked for with its ETag."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import httpx

from trimtab.clock import monotonic_ms
from trimtab.delivery import GLANCE_MS
from trimtab.network import Network
from trimtab.rules import BadRules, Rules, parse

log = logging.getLogger("trimtab")

_OK, _NOT_MODIFIED = 200, 304


class Refresher:
    """Holds the newest rule set that could be had. `rules` is None until the first arrives."""

    def __init__(self, network: Network, url: str, interval_ms: float) -> None:
        self._network = network
        self._url = url
        self._interval_ms = interval_ms
        self._etag = ""
        self._fresh_at_ms: float | None = None
        self.rules: Rules | None = None
        self.error = ""
        self.listeners: list[Callable[[Rules], None]] = []
        """Told of every new rule set, from the refreshing thread."""
        self._thread: threading.Thread | None = None
        self._inherited: Rules | None = None
        self._asleep = False
        self.reborn()

    def reborn(self) -> None:
        """Lose the thread and the locks, as a fork does. Where there was a thread, the first who asks for
        `current` rules starts another: most children never do, and some become other programs."""
        self._asleep = self._asleep or self._thread is not None
        if self._asleep:
            self._inherited, self.rules = self.rules or self._inherited, None
        self._waking = threading.RLock()
        self.abandoned = False
        """Set, without a lock, when nobody holds the client any more: end."""
        self._stopping = threading.Event()
        self._first = threading.Event()
        self._thread = None

    def current(self) -> Rules | None:
        """Return the rules at hand, in a forked child at first those of its parent. To read `rules` is the
        short way; where that is None, ask here."""
        if self._asleep:
            with self._waking:
                if self._asleep:
                    self.rules = self._inherited  # before the thread runs: it asks by the ETag of these
                    try:
                        self.start(0.0)
                    except RuntimeError as error:  # no thread to be had now: the next who asks tries again
                        self._failed(f"{type(error).__name__}: {error}")
                        self.rules = None
                        return self._inherited
                    self._asleep = False
        return self.rules

    def start(self, deadline_ms: float) -> bool:
        """Start the thread and wait for the first rule set. False: it did not come in time; it still may.
        Raises RuntimeError where the system allows no thread."""
        with self._waking:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="trimtab-rules", daemon=True)
                thread.start()
                self._thread = thread
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
            response = self._network.http.get(self._url, headers=headers)
            if response.status_code == _OK:
                self.rules = rules = parse(_json(response))
                self._etag = response.headers.get("etag", "")
                self._tell(rules)
            elif response.status_code != _NOT_MODIFIED or self.rules is None:
                raise BadRules(f"the assignment service answered {response.status_code}")
        except Exception as error:  # noqa: BLE001 - this thread outlives whatever networks and parsers raise
            self._failed(f"{type(error).__name__}: {error}")
            return
        self._fresh_at_ms, self.error = asked_at_ms, ""
        self._first.set()

    def _failed(self, error: str) -> None:
        if not self.error and not self.abandoned:  # once per outage
            log.warning("trimtab: the rules cannot be refreshed, those at hand stay in force: %s", error)
        self.error = error

    def _tell(self, rules: Rules) -> None:
        for listener in tuple(self.listeners):
            try:
                listener(rules)
            except Exception:
                log.exception("trimtab: a listener to new rules raised; the rules are in force all the same")

    def _run(self) -> None:
        while not self._stopping.is_set() and not self.abandoned:
            self.refresh()
            wait_ms = self._interval_ms
            while (
                wait_ms > 0
                and not self.abandoned
                and not self._stopping.wait(min(wait_ms, GLANCE_MS) / 1_000)
            ):
                wait_ms -= GLANCE_MS


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise BadRules(f"not JSON: {error}") from error
