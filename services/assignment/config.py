"""The settings of the assignment service."""

from pydantic import Field

from libs.common.settings import Settings


class AssignmentSettings(Settings):
    """Where it listens, and how long an exposure may take."""

    assignment_port: int = Field(default=8081, ge=0, le=65_535)
    assignment_max_body_bytes: int = Field(default=1_000_000, ge=10_000)
    assignment_exposure_deadline_ms: int = Field(default=2_000, ge=10)
    """How long a remote evaluation waits for the bus to acknowledge the exposure before it serves control."""
