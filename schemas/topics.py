"""The topics as data: the bus refuses what is not listed here."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from schemas.event import Contract
from schemas.experiments import Experiment, Rollback, Verdict
from schemas.facts import Conversion, Exposure, Feedback, Prediction
from schemas.health import Alert, Degradation, ModelHealth
from schemas.results import Result
from schemas.versions import ModelState, Registration, Retraining

UNIT_PARTITIONS = 4
"""Of the four unit-keyed topics: the same for all, so that one worker sees everything about a unit."""

DAY_MS = 24 * 60 * 60 * 1_000


class TopicKind(StrEnum):
    """`facts` are kept for a time; of a `state` the latest record per key is kept for good."""

    FACTS = "facts"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: what its key is, what it carries, who writes and who reads."""

    name: str
    key: str
    kind: TopicKind
    carries: tuple[type[Contract], ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    partitions: int = 1
    retention_ms: int = 30 * DAY_MS


_FACTS, _STATE = TopicKind.FACTS, TopicKind.STATE
_EVERYONE = ("assignment", "metrics", "drift", "retrainer", "gateway")

_RETRAINING = ("gateway", "retrainer")


def _unit_topic(
    name: str, carries: type[Contract], producers: tuple[str, ...], consumers: tuple[str, ...]
) -> Topic:
    return Topic(name, "unit_id", _FACTS, (carries,), producers, consumers, UNIT_PARTITIONS)


_LIST = (
    Topic(
        "exposures",
        "unit_id",
        _FACTS,
        (Exposure,),
        ("assignment", "client", "gateway"),
        ("metrics",),
        UNIT_PARTITIONS,
    ),
    Topic(
        "predictions", "unit_id", _FACTS, (Prediction,), ("client", "gateway"), ("drift",), UNIT_PARTITIONS
    ),
    Topic(
        "conversions",
        "unit_id",
        _FACTS,
        (Conversion,),
        ("client", "gateway"),
        ("metrics", "drift"),
        UNIT_PARTITIONS,
    ),
    _unit_topic("feedback", Feedback, ("client", "gateway"), ("drift",)),
    Topic("experiments", "experiment_id", _STATE, (Experiment,), ("assignment",), _EVERYONE),
    Topic("verdicts", "experiment_id", _FACTS, (Verdict,), ("metrics",), ("assignment", "gateway")),
    Topic("rollbacks", "experiment_id", _FACTS, (Rollback,), ("assignment",), ("gateway", "retrainer")),
    Topic("results", "experiment_id", _STATE, (Result,), ("metrics",), ("gateway",)),
    Topic("model-health", "model.version", _STATE, (ModelHealth,), ("drift",), ("gateway", "retrainer")),
    Topic("alerts", "subject", _FACTS, (Alert,), ("metrics", "drift", "retrainer"), ("gateway",)),
    Topic("degradations", "model", _FACTS, (Degradation,), ("drift", "metrics"), ("retrainer",)),
    Topic(
        "retraining",
        "model",
        _FACTS,
        (Retraining, Registration),
        ("gateway", "retrainer"),
        ("retrainer", "gateway"),
    ),
    Topic("models", "model", _STATE, (ModelState,), ("retrainer",), ("assignment", "drift", "gateway")),
    Topic("dead-letters", "original key", _FACTS, (), _EVERYONE, ("operators",)),
)

TOPICS = MappingProxyType({topic.name: topic for topic in _LIST})
UNIT_TOPICS = tuple(topic.name for topic in _LIST if topic.key == "unit_id")
