"""An outage must not cost every call its time-out: after a failure nobody asks for a while."""

import random
import threading
from collections.abc import Callable

from trimtab.clock import monotonic_ms

FIRST_PAUSE_MS = 100.0
MAX_PAUSE_MS = 5_000.0


class Breaker:
    """Lets calls pass while they work. After a failure it lets one pass per pause, and the pause doubles
    from 100 ms to 5 s (less up to a half, at random, so that processes do not ask in step)."""

    def __init__(self, clock: Callable[[], float] = monotonic_ms) -> None:
        self._clock = clock
        self.reborn()

    def reborn(self) -> None:
        """Start afresh, with a lock of this process's own."""
        self._lock = threading.RLock()
        self._failures = 0
        self._trying = False
        self._asks_at_ms = 0.0

    def may_ask(self) -> bool:
        """True: go on, and say afterwards whether it worked. While it does not, one caller per pause."""
        if not self._failures:
            return True
        with self._lock:
            if self._clock() < self._asks_at_ms:
                return False
            # Taken: the others wait another pause, also where this caller never says how it went.
            self._trying = True
            self._asks_at_ms = self._clock() + self._pause_ms()
            return True

    def worked(self) -> None:
        """Let everybody pass."""
        if self._failures:
            with self._lock:
                self._failures, self._trying = 0, False

    def failed(self, retry_after_ms: float | None = None) -> None:
        """Let nobody pass for a while: for as long as the service asks, at most 5 s."""
        with self._lock:
            if self._failures and not self._trying:
                return  # it was on its way with the one that failed first: one outage, one pause
            self._failures, self._trying = self._failures + 1, False
            pause_ms = self._pause_ms() if retry_after_ms is None else min(retry_after_ms, MAX_PAUSE_MS)
            self._asks_at_ms = self._clock() + pause_ms

    def _pause_ms(self) -> float:
        pause_ms = min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2.0 ** min(max(self._failures - 1, 0), 10))
        return pause_ms * random.uniform(0.5, 1.0)
