"""What the client says about itself."""

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
