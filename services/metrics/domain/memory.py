"""What the judge remembers of an experiment from one judgement to the next; kept as JSON."""

from typing import TypeAlias

import msgspec

from schemas.experiments import VerdictKind
from schemas.health import Severity

Units: TypeAlias = dict[str, int]


class StageMemory(msgspec.Struct, frozen=True):
    """A ramp stage, and how many units each variant had when it began."""

    stage: int
    started_at_ms: int
    units_before: Units


class RatioMemory(msgspec.Struct, frozen=True):
    """A period of constant weights in the sample-ratio test."""

    weights: dict[str, float]
    units_before: Units
    log_bayes_factor_before: float = 0.0
    """Of the periods that are over: Bayes factors multiply."""
    log_p: float = 0.0
    """The smallest ever."""


class OpenAlert(msgspec.Struct, frozen=True):
    """An episode that goes on."""

    alert_id: str
    cause: str
    severity: Severity
    title: str
    opened_at_ms: int


class JudgeMemory(msgspec.Struct, frozen=True):
    """The whole. Absent: nothing was judged yet."""

    revision: int = 0
    advice: VerdictKind | None = None
    """The last one published."""
    published: tuple[str, ...] = ()
    """Ids of the verdicts of this revision."""
    stage: StageMemory | None = None
    ratio: RatioMemory | None = None
    log_p: dict[str, float] = {}
    """Running minimum of the always-valid p-value, per question (see `evidence.question_key`)."""
    alerts: dict[str, OpenAlert] = {}
    """Open episodes by subject within the experiment, such as `guardrail/errors/challenger`."""
    episodes: dict[str, int] = {}
    """How many episodes each of these had."""


def memory_to_json(memory: JudgeMemory) -> str:
    """Return the memory as text."""
    return msgspec.json.encode(memory).decode()


def memory_from_json(text: str) -> JudgeMemory:
    """Return the memory in a text that `memory_to_json` wrote."""
    return msgspec.json.decode(text, type=JudgeMemory)
