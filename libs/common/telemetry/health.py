"""Is this process ready for work, and is it still alive? Read by the telemetry thread, told by the loop."""

from threading import Lock

from libs.common.clock import Clock

MAX_SILENCE_MS = 60_000
"""A process with a task whose last heartbeat is older than this counts as dead. Longer than a task that goes
on may be silent: a consumer that finds no broker takes 40 s to say so, and 15 s of pause follow."""


class Health:
    """What the process needs, part by part. State the needs before the telemetry server starts:
    a process that needs nothing is ready. Safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failing: dict[str, str] = {}
        self._beats_ms: dict[str, float] = {}

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

    def beat(self, name: str) -> None:
        """Say that this task still turns: to be called every few seconds until the process ends, once called
        at all. A name is one task's: another one's heartbeats must not cover it up."""
        with self._lock:
            self._beats_ms[name] = self._clock.monotonic_ms()

    def silence_ms(self) -> float:
        """Return the milliseconds since the last heartbeat of the task that was silent for longest, 0 when
        there was none yet."""
        return max(self._silences_ms().values(), default=0.0)

    def silent(self) -> list[str]:
        """Return the tasks whose heartbeats came and then ceased."""
        return sorted(name for name, ms in self._silences_ms().items() if ms > MAX_SILENCE_MS)

    def live(self) -> bool:
        """Return False when heartbeats of a task came and then none for a minute."""
        return not self.silent()

    def _silences_ms(self) -> dict[str, float]:
        with self._lock:
            now_ms = self._clock.monotonic_ms()
            return {name: now_ms - beat_ms for name, beat_ms in self._beats_ms.items()}
