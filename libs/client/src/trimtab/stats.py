"""What the client says about itself."""

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of events since the client was made. queued + accepted + rejected + dropped = all told."""

    queued: int
    """Waiting, or on their way without an answer yet."""
    sent: int
    """Put on the wire, repetitions included."""
    accepted: int
    """Acknowledged by the gateway, one by one."""
    rejected: int
    """Refused for good: by the gateway, or because they cannot be written as JSON."""
    dropped: int
    """Lost for want of room, or unsent when the client was closed."""
    last_error: str
    """What went wrong last: a delivery that failed, or an event that was rejected; "" when nothing has."""
    rules_revision: int | None
    """None: no rule set has arrived yet."""
    rules_age_ms: float | None
    """Since the rule set was last known to be the newest."""
    rules_error: str
    """Why the last refresh failed; "" after a good one."""
    bad_units: int
    """Calls of `assign` with an id that cannot be a unit's."""
    attributes_left_out: int
    """Attributes that an exposure or a conversion was to carry and cannot: of another type, not finite, too
    long or too many."""
    sticky_errors: int
    """What the sticky store raised."""
    assign_errors: int
    """Calls of `assign` and `expose` that failed: unanswered by the service, or given what nobody can use."""
    assign_error: str
    """Why the assignment service did not answer the last question; "" after a good answer."""


class Tally:
    """Counts that any thread may raise. None of them is on the path of a call that goes well."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.reborn()

    def reborn(self) -> None:
        """Be given a lock that no thread of a parent process holds."""
        self._lock = threading.RLock()

    def add(self, name: str, count: int = 1) -> int:
        """Raise a count, and return it."""
        with self._lock:
            self._counts[name] += count
            return self._counts[name]

    def __getitem__(self, name: str) -> int:
        return self._counts[name]
