"""Settings from the environment. Names carry their unit; secrets are never printed."""

from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.common.errors import Misconfigured


class Settings(BaseSettings):
    """What every process needs. A service adds its own fields, each with its prefix in `alias`."""

    model_config = SettingsConfigDict(env_prefix="", extra="ignore", frozen=True, populate_by_name=True)

    kafka_bootstrap_servers: str = Field(min_length=3)
    database_url: SecretStr = SecretStr("")
    host: str = "127.0.0.1"
    telemetry_port: int = Field(default=0, ge=0, le=65_535)
    """0: any free port."""
    worker_name: str = Field(default="", max_length=200, pattern=r"^[A-Za-z0-9._\-]*$")
    """Of a process that shares partitions with others: a name that no other has and that stays the same when
    it starts again, as a StatefulSet's pod has. Its partitions then wait for it, as long as the group's
    session, instead of moving, and it need not wait until the group misses the one that was killed."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    otel_exporter_otlp_endpoint: str = ""
    startup_deadline_ms: int = Field(default=120_000, ge=1_000)
    drain_deadline_ms: int = Field(default=10_000, ge=100)


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(kind: type[SettingsT]) -> SettingsT:
    """Return the settings of this process. Raises Misconfigured that names the variable to set."""
    try:
        return kind()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in each['loc']).upper()}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        raise Misconfigured(
            f"settings: {problems}", next_step="set these environment variables and start again"
        ) from error
