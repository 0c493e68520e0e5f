"""Settings of drift's two processes."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from libs.common.settings import Settings
from services.drift.domain.answers import Horizons
from services.drift.domain.partition import IngestLimits
from services.drift.domain.policy import JudgePolicy

DAY_MS = 24 * 60 * 60 * 1_000


class Config(Settings):
    """What both processes need: how time is cut."""

    drift_window_ms: int = Field(default=3_600_000, ge=1_000, le=DAY_MS)
    """Length of a window of event time. Not to be changed while snapshots of other windows exist."""


class IngestConfig(Config):
    """Settings of `python -m services.drift ingest`."""

    examples_dir: Path
    drift_group: str = "drift-ingest"
    drift_late_ms: int = Field(default=600_000, ge=1_000, le=7 * DAY_MS)
    """A fact further behind the newest of its topic and partition is left out; repetitions are known as
    long."""
    drift_label_wait_ms: int = Field(default=DAY_MS, ge=1_000, le=90 * DAY_MS)
    """How long a prediction waits for its label, in event time."""
    drift_max_answers: int = Field(default=200_000, ge=1_000)
    """Predictions that wait for a label in a partition, and labels that wait for a prediction; beyond, the
    oldest are forgotten and counted."""
    drift_max_ids: int = Field(default=1_000_000, ge=1_000)
    """Predictions of the last DRIFT_LATE_MS whose repetition a partition recognises."""
    drift_max_versions: int = Field(default=1_000, ge=1)
    drift_max_versions_per_model: int = Field(default=100, ge=1)
    """Versions that a partition ever follows, in all and of one model; further ones are left out, counted."""
    drift_flush_interval_ms: int = Field(default=30_000, ge=0)
    """Event time between two files of examples. The last of a stream that stops wait for its next event."""
    drift_flush_examples: int = Field(default=5_000, ge=1)
    drift_publish_interval_ms: int = Field(default=1_000, ge=50)
    snapshot_url: str = "postgres"
    """Where snapshots lie: `postgres`, `file:///folder` that all workers see, or `s3://bucket/prefix`."""
    drift_snapshot_interval_ms: int = Field(default=30_000, ge=1_000)

    @model_validator(mode="after")
    def _labels_outlast_lateness(self) -> Self:
        if self.drift_label_wait_ms < self.drift_late_ms:
            raise ValueError("DRIFT_LABEL_WAIT_MS must be at least DRIFT_LATE_MS")
        return self

    def limits(self) -> IngestLimits:
        """Return them as the domain has them."""
        return IngestLimits(
            window_ms=self.drift_window_ms,
            horizons=Horizons(
                self.drift_late_ms, self.drift_label_wait_ms, self.drift_max_answers, self.drift_max_ids
            ),
            versions=self.drift_max_versions,
            versions_per_model=self.drift_max_versions_per_model,
            flush_interval_ms=self.drift_flush_interval_ms,
            flush_examples=self.drift_flush_examples,
        )


class JudgeConfig(Config):
    """Settings of `python -m services.drift judge`; `domain/policy.py` explains them."""

    drift_tick_ms: int = Field(default=1_000, ge=100)
    drift_lateness_ms: int = Field(default=60_000, ge=0)
    drift_idle_ms: int = Field(default=30_000, ge=1_000)
    drift_min_predictions: int = Field(default=100, ge=2)
    drift_reference_predictions: int = Field(default=2_000, ge=100)
    drift_reference_labels: int = Field(default=500, ge=20)
    drift_alpha: float = Field(default=0.01, gt=0, lt=1)
    drift_psi_threshold: float = Field(default=0.2, gt=0)
    drift_persist: int = Field(default=2, ge=1)
    drift_persist_of: int = Field(default=3, ge=1, le=100)
    drift_margin: float = Field(default=0.10, gt=0, lt=1)
    drift_floor: float | None = Field(default=None, gt=0, lt=1)
    drift_recent_windows: int = Field(default=6, ge=1, le=1_000)
    drift_min_labelled: int = Field(default=100, ge=10)
    drift_degrades: bool = False

    @model_validator(mode="after")
    def _can_persist(self) -> Self:
        if self.drift_persist > self.drift_persist_of:
            raise ValueError("DRIFT_PERSIST must be at most DRIFT_PERSIST_OF")
        return self

    def policy(self) -> JudgePolicy:
        """Return them as the domain has them."""
        return JudgePolicy(
            window_ms=self.drift_window_ms,
            lateness_ms=self.drift_lateness_ms,
            idle_ms=self.drift_idle_ms,
            min_predictions=self.drift_min_predictions,
            reference_predictions=self.drift_reference_predictions,
            reference_labels=self.drift_reference_labels,
            alpha=self.drift_alpha,
            psi_threshold=self.drift_psi_threshold,
            persist=self.drift_persist,
            persist_of=self.drift_persist_of,
            margin=self.drift_margin,
            floor=self.drift_floor,
            recent_windows=self.drift_recent_windows,
            min_labelled=self.drift_min_labelled,
            drift_degrades=self.drift_degrades,
        )
