"""The gateway's settings."""

from pydantic import Field

from libs.common.settings import Settings


class GatewaySettings(Settings):
    """Limits and addresses of the gateway."""

    gateway_port: int = Field(default=8080, ge=0, le=65_535)
    assignment_url: str = "http://127.0.0.1:8081"
    gateway_max_body_bytes: int = Field(default=8_000_000, ge=10_000)
    assignment_max_body_bytes: int = Field(default=1_000_000, ge=10_000)
    """What assignment takes, by the same variable: more is not passed on."""
    gateway_max_batch: int = Field(default=1_000, ge=1, le=10_000)
    gateway_max_subscribers: int = Field(default=200, ge=1)
    gateway_subscriber_queue: int = Field(default=1_000, ge=10)
    """Live events that wait for one slow subscriber before it is sent away."""
    gateway_assignment_timeout_ms: int = Field(default=5_000, ge=100)
