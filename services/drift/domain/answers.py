"""Predictions and their truth find each other, in either order, whoever comes first and however often."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct

from services.drift.domain.labels import numeric_part
from services.drift.domain.recent import Recent
from services.drift.domain.rows import Example

EarlyKey = tuple[str, str]
"""Model and prediction id: a label for another model is none for this prediction."""

MAX_NAME_SETS = 1_000
"""Different sets of feature names that are shared in memory before the sharing starts anew."""


class Truth(Struct, frozen=True, array_like=True, gc=False):
    """A label as feedback told it. Of several about one prediction the smallest holds: the earliest."""

    at_ms: int
    event_id: str
    model: str
    label: str

    def before(self, other: "Truth") -> bool:
        """Return True when this one holds rather than `other`."""
        return (self.at_ms, self.event_id) < (other.at_ms, other.event_id)


class Answer(Struct, array_like=True):
    """One prediction, kept until its label has come and no repetition can come any more."""

    prediction_id: str
    unit_id: str
    at_ms: int
    model: str
    version: str
    output: str
    confidence: float | None
    names: tuple[str, ...] = ()
    values: bytes = b""
    """Float64 in the order of `names`; both are given up once the label is there."""
    truth: Truth | None = None

    def features(self) -> dict[str, float]:
        """Return the numeric features by name."""
        return dict(zip(self.names, array("d", self.values), strict=True))

    def known_at_ms(self) -> int:
        """Return when the truth was known: the later of both event times."""
        return max(self.at_ms, self.truth.at_ms) if self.truth else self.at_ms


@dataclass(frozen=True, slots=True)
class Horizons:
    """How long, in event time, and how many."""

    late_ms: int
    """A fact further behind the newest of its topic is left out, so that its repetitions are still known
    before. A label that is as much older than its prediction is none for it."""
    label_ms: int
    """How long a prediction waits for its label. At least `late_ms`."""
    answers: int
    """Predictions that wait for a label, and labels that wait for a prediction, each."""
    ids: int = 1_000_000
    """Predictions whose repetition is recognised, and labelled ones whose next label is, each. They weigh
    little: their features are not kept."""


@dataclass(frozen=True, slots=True)
class EventTimes:
    """How far each topic has come, in ms of event time; 0 before its first event."""

    predictions_ms: int = 0
    feedback_ms: int = 0


class Answers:
    """The predictions and labels that a partition remembers. Beyond the limits the oldest are forgotten.

    Which label belongs to which prediction depends on their event times alone, and each waits until the
    *other* topic has passed the last event that could concern it. So it does not matter which topic is read
    ahead of the other, and how far, within the limits. A topic that stands still lets the other's facts wait
    up to the limits.
    """

    def __init__(self, horizons: Horizons) -> None:
        self._horizons = horizons
        self._seen: Recent[str, None] = Recent(horizons.ids)
        self._waiting: Recent[str, Answer] = Recent(horizons.answers)
        self._labelled: Recent[str, Answer] = Recent(horizons.ids)
        self._early: Recent[EarlyKey, Truth] = Recent(horizons.answers)
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def repeated(self, prediction_id: str) -> bool:
        """Return True when this prediction was here before."""
        return prediction_id in self._seen or self._known(prediction_id) is not None

    def remember(self, answer: Answer, features: Mapping[str, float | bool | str | None]) -> Truth | None:
        """Keep a new prediction. Returns the truth that came before it."""
        numbers = numeric_part(features)
        names = tuple(numbers)
        if len(self._names) > MAX_NAME_SETS:
            self._names.clear()
        answer.names = self._names.setdefault(names, names)
        answer.values = array("d", numbers.values()).tobytes()
        self._seen.put(answer.prediction_id, None, answer.at_ms)
        self._waiting.put(answer.prediction_id, answer, answer.at_ms)
        early = (answer.model, answer.prediction_id)
        truth = self._early.get(early)
        if truth is None or not self._belongs(answer, truth):
            return None
        self._early.pop(early)
        return truth

    def answer_of(self, prediction_id: str, truth: Truth) -> Answer | None:
        """Return the prediction that this is the truth of, None when there is none (yet, or any more)."""
        answer = self._known(prediction_id)
        return answer if answer is not None and self._belongs(answer, truth) else None

    def settle(self, answer: Answer, truth: Truth) -> Example | None:
        """Give a prediction its truth. Returns the example when it is the first."""
        example = None
        if answer.truth is None:
            example = _example(answer, truth)
            answer.names, answer.values = (), b""
            self._waiting.pop(answer.prediction_id)
        answer.truth = truth
        self._labelled.put(answer.prediction_id, answer, answer.known_at_ms())
        return example

    def early(self, prediction_id: str, truth: Truth) -> bool:
        """Keep a label whose prediction is unknown. Returns False when there was one already."""
        key = (truth.model, prediction_id)
        known = self._early.get(key)
        if known is None or truth.before(known):
            self._early.put(key, truth, truth.at_ms)
        return known is None

    def forget(self, times: EventTimes) -> Mapping[str, int]:
        """Let go of what the horizons and limits end. Returns what that cost, by reason."""
        late_ms, label_ms = self._horizons.late_ms, self._horizons.label_ms
        _, unrecognised = self._seen.forget(times.predictions_ms - late_ms)
        orphans, early = self._early.forget(times.predictions_ms - 2 * late_ms)
        _, waiting = self._waiting.forget(times.feedback_ms - late_ms - label_ms)
        _, labelled = self._labelled.forget(times.feedback_ms - late_ms)
        return {
            "label_without_prediction": orphans,
            "forgotten_over_limit": waiting,
            "label_over_limit": early,
            "repetition_over_limit": unrecognised + labelled,
        }

    def dump(self) -> "Remembered":
        """Return all that is remembered, in an order that depends on nothing else."""
        return Remembered(
            [(key, at_ms) for key, at_ms, _ in self._seen.items()],
            [each for _, _, each in self._waiting.items()] + [each for _, _, each in self._labelled.items()],
            [(key, each) for key, _, each in self._early.items()],
        )

    def restore(self, held: "Remembered") -> None:
        """Take in what `dump` returned."""
        for prediction_id, at_ms in held.seen:
            self._seen.put(prediction_id, None, at_ms)
        for answer in held.answers:
            answer.names = self._names.setdefault(answer.names, answer.names)
            if answer.truth is None:
                self._waiting.put(answer.prediction_id, answer, answer.at_ms)
            else:
                self._labelled.put(answer.prediction_id, answer, answer.known_at_ms())
        for (_, prediction_id), truth in held.early:
            self.early(prediction_id, truth)

    def _known(self, prediction_id: str) -> Answer | None:
        return self._waiting.get(prediction_id) or self._labelled.get(prediction_id)

    def _belongs(self, answer: Answer, truth: Truth) -> bool:
        waited_ms = truth.at_ms - answer.at_ms
        in_time = -self._horizons.late_ms <= waited_ms <= self._horizons.label_ms
        return in_time and answer.model == truth.model


class Remembered(Struct, array_like=True):
    """What a snapshot keeps of `Answers`."""

    seen: list[tuple[str, int]] = []
    answers: list[Answer] = []
    early: list[tuple[EarlyKey, Truth]] = []


def _example(answer: Answer, truth: Truth) -> Example:
    return Example(
        prediction_id=answer.prediction_id,
        unit_id=answer.unit_id,
        occurred_at_ms=answer.at_ms,
        labelled_at_ms=max(answer.at_ms, truth.at_ms),
        model=answer.model,
        model_version=answer.version,
        features=answer.features(),
        output=answer.output,
        label=truth.label,
        confidence=answer.confidence,
    )
