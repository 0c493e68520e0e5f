"""The retrainer's settings."""

import os
import tempfile
from pathlib import Path

from pydantic import Field, field_validator

from libs.common.settings import Settings
from services.retrainer.domain.trainers import TRAINERS

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class RetrainerSettings(Settings):
    """Rules, thresholds, limits and addresses of the retrainer."""

    mlflow_tracking_uri: str = Field(pattern=r"^https?://")
    examples_dir: Path
    retrainer_work_dir: Path = Path(tempfile.gettempdir()) / f"trimtab-retrainer-{os.getuid()}"
    """Where children work: made for us alone; one that others own or may write is refused. Losing it costs a
    repeated training, nothing else."""

    retrainer_cooldown_ms: int = Field(default=DAY_MS, ge=0)
    retrainer_max_retries: int = Field(default=3, ge=0, le=100)
    """How often a degradation is tried again, a cooldown apart, whose retraining came to nothing."""
    retrainer_min_examples: int = Field(default=10_000, ge=10)
    retrainer_max_examples: int = Field(default=200_000, ge=10)
    retrainer_collect_deadline_ms: int = Field(default=DAY_MS, ge=0)
    retrainer_look_back_ms: int = Field(default=30 * DAY_MS, ge=1)

    retrainer_trainer: str = "random_forest"
    retrainer_seed: int = Field(default=0, ge=0, lt=2**32)
    retrainer_held_out_share: float = Field(default=0.25, gt=0, lt=1)
    retrainer_train_deadline_ms: int = Field(default=HOUR_MS // 2, ge=1_000)
    retrainer_register_deadline_ms: int = Field(default=300_000, ge=1_000)
    retrainer_niceness: int = Field(default=10, ge=0, le=19)
    retrainer_max_attempts: int = Field(default=3, ge=1)

    retrainer_min_held_out: int = Field(default=100, ge=1)
    retrainer_min_accuracy: float = Field(default=0.65, ge=0, le=1)
    retrainer_min_f1: float = Field(default=0.65, ge=0, le=1)
    retrainer_min_precision: float = Field(default=0.60, ge=0, le=1)
    retrainer_min_recall: float = Field(default=0.60, ge=0, le=1)
    retrainer_min_confidence: float = Field(default=0.70, ge=0, le=1)
    retrainer_min_gain: float = Field(default=0.0, ge=0, le=1)

    retrainer_poll_ms: int = Field(default=2_000, ge=50)
    retrainer_retry_ms: int = Field(default=10_000, ge=50)
    retrainer_duty_interval_ms: int = Field(default=500, ge=10)
    retrainer_registry_timeout_ms: int = Field(default=10_000, ge=100)

    @field_validator("retrainer_trainer")
    @classmethod
    def _installed(cls, name: str) -> str:
        if name not in TRAINERS:
            raise ValueError(f"there is no trainer {name!r}: choose one of {', '.join(sorted(TRAINERS))}")
        return name
