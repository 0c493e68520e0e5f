"""What a training child is told and what it tells back: JSON files, nothing else crosses."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

TRAINING_ORDER, REPORT, CANDIDATE, REFERENCE, CARD, REGISTRATION_ORDER, REGISTERED, FAILURE = (
    "training-order.json",
    "report.json",
    "candidate.skops",
    "reference.json",
    "card.md",
    "registration-order.json",
    "registered.json",
    "failure.json",
)
"""The files of one run's folder. `report.json` is written last: where it is, the others are."""


class _Paper(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class TrainingOrder(_Paper):
    """What to train, on which examples, against whom."""

    retraining_id: str
    model: str
    cause: str
    reason: str
    examples_dir: Path
    from_ms: int
    until_ms: int
    max_examples: Annotated[int, Field(ge=1)]
    """Of more, the latest are taken: memory stays bounded."""
    trainer: str
    seed: int = 0
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    champion_version: str | None = None
    mlflow_tracking_uri: str
    registry_timeout_ms: int


class Comparison(_Paper):
    """Candidate and champion on the same held-out examples."""

    examples: int
    candidate: dict[str, float]
    champion: dict[str, float]
    source: str
    """Where the champion's answers come from: `recorded`, `artifact` or `recorded and artifact`."""

    @property
    def gain(self) -> float:
        """Candidate's accuracy minus champion's."""
        return self.candidate["accuracy"] - self.champion["accuracy"]


class TrainingReport(_Paper):
    """What came out of a training."""

    trainer: str
    parameters: dict[str, str]
    features: tuple[str, ...]
    """In the order in which the model takes them."""
    classes: tuple[str, ...]
    classes_are_numbers: bool
    trained_on: int
    held_out: int
    first_ms: int
    split_ms: int
    """The first held-out example's time."""
    last_ms: int
    data_hash: str
    """SHA-256 over ids, times, features and labels of all examples used."""
    scores: dict[str, float]
    champion_version: str | None
    comparison: Comparison | None
    notes: tuple[str, ...]

    @property
    def examples(self) -> int:
        """All examples that were used."""
        return self.trained_on + self.held_out

    def all_scores(self) -> dict[str, float]:
        """Return the candidate's scores, with the champion's and the gain where they were compared."""
        if self.comparison is None:
            return dict(self.scores)
        champion = {f"champion_{name}": value for name, value in self.comparison.champion.items()}
        return {**self.scores, **champion, "gain": self.comparison.gain}


class RegistrationOrder(_Paper):
    """What to put into MLflow: the files of the folder, under this name, once per retraining id."""

    retraining_id: str
    model: str
    cause: str
    cause_id: str | None
    mlflow_tracking_uri: str


class Registered(_Paper):
    """What MLflow gave."""

    version: str
    run_id: str | None
    created_at_ms: int


class Failure(_Paper):
    """Why a child gave up. `retryable`: something it needs is away; else the order cannot be carried out."""

    reason: str
    retryable: bool
