"""The settings of metrics."""

from pydantic import Field

from libs.common.settings import Settings


class MetricsSettings(Settings):
    """Of both processes."""

    metrics_ingest_group: str = Field(default="metrics-ingest", min_length=1)
    metrics_judge_group: str = Field(default="metrics-judge", min_length=1)
    metrics_publish_interval_ms: int = Field(default=350, ge=10)
    """How often ingest publishes what changed."""
    snapshot_url: str = "postgres"
    """Where ingest's snapshots lie: `postgres`, `file:///folder` that all workers see, or
    `s3://bucket/prefix`."""
    metrics_snapshot_interval_ms: int = Field(default=30_000, ge=100)
    metrics_judge_interval_ms: int = Field(default=100, ge=10)
    """How often the judge looks for something new."""
    metrics_result_interval_ms: int = Field(default=1_000, ge=0)
    """The least time between two results of one experiment."""
    metrics_session_timeout_ms: int = Field(default=8_000, ge=6_000, le=60_000)
    """How long a judge that was killed is missed."""
    metrics_leak_grace_ms: int = Field(default=5_000, ge=0, le=86_400_000)
    """How long after a rollback, or after a variant's weight became 0, clients may take to follow: exposures
    later than that are leaks. Raise it where clients ask for the rules less often than every second."""
    metrics_leak_delay_ms: int = Field(default=5_000, ge=0, le=86_400_000)
    """How long an exposure may take from where it happens into the log: a rollback is verified so long after
    the grace."""
    metrics_look_back_ms: int = Field(default=1_209_600_000, ge=0, le=31_536_000_000)
    """How long conversions of units that were never exposed are kept, for the covariates of experiments to
    come. One with a longer covariate window finds no older ones, unless it is defined that long ahead."""
    metrics_max_units: int = Field(default=1_000_000, ge=1)
    """Units remembered per partition; events of further ones are counted and ignored."""
