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
    """A period of constant weights, within one ramp stage, in the sample-ratio test."""

    weights: dict[str, float]
    units_before: Units
    """When the period began."""
    log_bayes_factor_before: float = 0.0
    """Of the periods that are over: Bayes factors multiply."""
    log_p: float = 0.0
    """The smallest ever."""
    stage: int = 0
    periods: int = 1
    """How many there were, this one included."""
    units_at_weights: Units = {}
    """When these weights began: leaks are counted from there."""
    settles_at_ms: int = 0
    """Until event time is here, units that come are not tested: clients may still follow the old weights."""
    reweighted: bool = False
    """The weights are not those that the experiment began with."""
    weights_since_ms: int = 0
    """When these weights began, as far as is known; 0: when the experiment was made."""


class LookMemory(msgspec.Struct, frozen=True):
    """The planned looks of one comparison, and the numbers of the last one."""

    plan: str
    """Names the plan: another one begins anew."""
    units: tuple[int, ...]
    """Of all variants together, at each look."""
    bound: float
    crossed: bool
    log_p: float
    difference: tuple[float, float, float]
    """Estimate, lower, upper; so is the lift."""
    lift: tuple[float, float, float] | None
    lift_reason: str


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
    looks: dict[str, LookMemory] = {}
    """Of a group-sequential policy, per question."""
    reallocated_at_ms: int = 0
    """When a bandit's weights were last advised..."""
    reallocations: int = 0
    """...and how often."""
    alerts: dict[str, OpenAlert] = {}
    """Open episodes by subject within the experiment, such as `guardrail/errors/challenger`."""
    episodes: dict[str, int] = {}
    """How many episodes each of these had."""
    leak_over_ms: int = 0
    """When the latest exposure of a leak that is over happened."""


def memory_to_json(memory: JudgeMemory) -> str:
    """Return the memory as text."""
    return msgspec.json.encode(memory).decode()


def memory_from_json(text: str) -> JudgeMemory:
    """Return the memory in a text that `memory_to_json` wrote."""
    return msgspec.json.decode(text, type=JudgeMemory)
