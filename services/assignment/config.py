"""The settings of the assignment service."""

from pydantic import Field

from libs.common.settings import Settings


class AssignmentSettings(Settings):
    """Where it listens, and how long an exposure may take."""

    assignment_port: int = Field(default=8081, ge=0, le=65_535)
    assignment_max_body_bytes: int = Field(default=1_000_000, ge=10_000)
    assignment_exposure_deadline_ms: int = Field(default=2_000, ge=10)
    """How long a remote evaluation waits for the bus to acknowledge the exposure before it serves control."""
    assignment_rules_interval_ms: int = Field(default=100, ge=10, le=60_000)
    """How long after a change in another process the rules may be out of date here."""
    assignment_rate_per_s: float = Field(default=0.0, ge=0.0)
    """Evaluations a second that one address may ask for over HTTP; 0: as many as it likes. Behind a proxy all
    callers have the proxy's address, unless it runs on this machine and sends X-Forwarded-For."""
    assignment_burst: int = Field(default=100, ge=1)
    """Evaluations that one address may ask for at once, where there is a rate."""
    assignment_sticky_cache_units: int = Field(default=100_000, ge=1)
    """Units of sticky experiments that are remembered without asking PostgreSQL: about 300 bytes each."""
    assignment_client_keys: str = ""
    """Comma-separated keys by which GrowthBook's SDKs may ask for features; empty: any key."""
    assignment_max_streams: int = Field(default=1_000, ge=1)
    """Streams to GrowthBook's SDKs that may be open at once."""
