"""Is this process ready for work, and is it still alive? Read by the telemetry thread, told by the loop."""

from threading import Lock

from libs.common.clock import Clock

MAX_SILENCE_MS = 30_000
"""A process whose last heartbeat is older than this counts as dead."""


class Health:
    """What the process needs, part by part. State the needs before the telemetry server starts:
    a process that needs nothing is ready. Safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failing: dict[str, str] = {}
        self._last_beat_ms: float | None = None

    def require(self, name: str, reason: str = "starting") -> None:
        """Count as not ready until `ok(name)`."""
        self.failing(name, reason)

    def ok(self, name: str) -> None:
        """This part works."""
        with self._lock:
            self._failing.pop(name, None)

    def failing(self, name: str, reason: str) -> None:
        """This part does not work, for this reason: not ready until `ok(name)`."""
        with self._lock:
            self._failing[name] = reason or "failing"

    def ready(self) -> bool:
        """Return True when every part works."""
        with self._lock:
            return not self._failing

    def reasons(self) -> dict[str, str]:
        """Return the parts that do not work, and why."""
        with self._lock:
            return dict(self._failing)

    def beat(self) -> None:
        """Say that the process still turns: to be called at least every few seconds once called at all."""
        with self._lock:
            self._last_beat_ms = self._clock.monotonic_ms()

    def silence_ms(self) -> float:
        """Return the milliseconds since the last heartbeat, 0 when there was none yet."""
        with self._lock:
            last = self._last_beat_ms
        return 0.0 if last is None else self._clock.monotonic_ms() - last

    def live(self) -> bool:
        """Return False when heartbeats came and then none for 30 s."""
        return self.silence_ms() <= MAX_SILENCE_MS
