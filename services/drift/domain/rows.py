"""What ingest hands out: absolute values per partition, and examples that are to be kept."""

from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct


class VersionKey(NamedTuple):
    """One version of one model."""

    model: str
    version: str


class WindowKey(NamedTuple):
    """One tumbling window of event time of one model version; `start_ms` is a multiple of its length."""

    model: str
    version: str
    start_ms: int


class FeatureBody(Struct, frozen=True, array_like=True):
    """A feature's histogram: `libs.statistics.value_counts` as sorted columns."""

    bits: int
    highs: tuple[float, ...]
    counts: tuple[int, ...]


class WindowBody(Struct, frozen=True):
    """What the predictions of a window looked like; all names sorted, so equal windows are equal bytes."""

    features: dict[str, FeatureBody]
    non_numeric: dict[str, int]
    """Features that came as text: how often."""
    outputs: dict[str, int] | None
    """Answers: how often; None once they were too many to tell apart."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted in one window. Labels count in the window in which the truth became known: the
    later of the two event times, of prediction and feedback."""

    start_ms: int
    predictions: int = 0
    real_valued: int = 0
    """Predictions whose output is a number with a fraction."""
    labelled: int = 0
    correct: int = 0


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window of one partition, absolute."""

    key: WindowKey
    tally: Tally
    body: WindowBody | None
    """None: as it was told before; only labels came since."""


@dataclass(frozen=True, slots=True)
class VersionTotal:
    """All that one partition has seen of a version so far."""

    key: VersionKey
    predictions: int
    labelled: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the event times of a partition's two topics have come, and what it left out, by reason."""

    watermark_ms: int
    """Of predictions; 0 before the first."""
    left_out: dict[str, int]
    feedback_ms: int = 0
    """Of feedback; 0 before the first."""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled prediction: what a retraining learns from."""

    prediction_id: str
    unit_id: str
    occurred_at_ms: int
    labelled_at_ms: int
    model: str
    model_version: str
    features: dict[str, float]
    output: str
    label: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class DriftRows:
    """All that changed in a partition since it was last asked."""

    windows: tuple[WindowRow, ...]
    totals: tuple[VersionTotal, ...]
    progress: Progress
    examples: tuple[Example, ...] = field(default=())
