"""Predictions and their truth find each other, in either order, whoever comes first and however often."""

import heapq
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct

from services.drift.domain.labels import numeric_part
from services.drift.domain.rows import Example

EarlyKey = tuple[str, str]
"""Model and prediction id: a label for another model is none for this prediction."""

STALE_EXPIRIES = 1_000
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
    """A fact further behind the newest is left out, so that its repetitions are still known before."""
    label_ms: int
    """How long a prediction waits for its label. At least `late_ms`."""
    answers: int
    """Predictions and early labels that a partition remembers, each."""


class Answers:
    """The predictions and labels that a partition remembers. Beyond the limits the oldest are forgotten."""

    def __init__(self, horizons: Horizons) -> None:
        self._horizons = horizons
        self._answers: dict[str, Answer] = {}
        self._early: dict[EarlyKey, Truth] = {}
        self._expiries: list[tuple[int, str]] = []
        self._early_expiries: list[tuple[int, EarlyKey]] = []
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def known(self, prediction_id: str) -> Answer | None:
        """Return the prediction, None when it is not known (yet, or any more)."""
        return self._answers.get(prediction_id)

    def remember(self, answer: Answer, features: Mapping[str, float | bool | str | None]) -> Truth | None:
        """Keep a new prediction. Returns the truth that came before it."""
        numbers = numeric_part(features)
        names = tuple(numbers)
        if len(self._names) > MAX_NAME_SETS:
            self._names.clear()
        answer.names = self._names.setdefault(names, names)
        answer.values = array("d", numbers.values()).tobytes()
        self._keep(answer)
        return self._early.pop((answer.model, answer.prediction_id), None)

    def settle(self, answer: Answer, truth: Truth) -> Example | None:
        """Give a prediction its truth. Returns the example when it is the first."""
        example = None
        if answer.truth is None:
            example = _example(answer, truth)
            answer.names, answer.values = (), b""
        answer.truth = truth
        heapq.heappush(self._expiries, (self._expiry(answer), answer.prediction_id))
        return example

    def early(self, prediction_id: str, truth: Truth) -> bool:
        """Keep a label whose prediction is unknown. Returns False when there was one already."""
        key = (truth.model, prediction_id)
        known = self._early.get(key)
        if known is None or truth.before(known):
            self._early[key] = truth
            heapq.heappush(self._early_expiries, (truth.at_ms + self._horizons.late_ms, key))
        return known is None

    def forget(self, watermark_ms: int) -> tuple[int, int]:
        """Let go of what the horizons end. Returns (labels without prediction, answers over the limit)."""
        return self._forget_early(watermark_ms), self._forget_answers(watermark_ms)

    def dump(self) -> tuple[list[Answer], list[tuple[EarlyKey, Truth]]]:
        """Return all that is remembered, in an order that depends on nothing else."""
        answers = [self._answers[each] for each in sorted(self._answers)]
        return answers, sorted(self._early.items(), key=lambda item: item[0])

    def restore(self, answers: list[Answer], early: list[tuple[EarlyKey, Truth]]) -> None:
        """Take in what `dump` returned."""
        for answer in answers:
            answer.names = self._names.setdefault(answer.names, answer.names)
            self._keep(answer)
        for (_, prediction_id), truth in early:
            self.early(prediction_id, truth)

    def _keep(self, answer: Answer) -> None:
        self._answers[answer.prediction_id] = answer
        heapq.heappush(self._expiries, (self._expiry(answer), answer.prediction_id))

    def _expiry(self, answer: Answer) -> int:
        if answer.truth is None:
            return answer.at_ms + self._horizons.label_ms
        return answer.known_at_ms() + self._horizons.late_ms

    def _forget_answers(self, watermark_ms: int) -> int:
        over = 0
        heap, limit = self._expiries, self._horizons.answers
        while heap and (heap[0][0] < watermark_ms or len(self._answers) > limit):
            expiry, prediction_id = heapq.heappop(heap)
            answer = self._answers.get(prediction_id)
            # A label changes the expiry: the entry from before it says nothing any more.
            if answer is not None and self._expiry(answer) == expiry:
                over += expiry >= watermark_ms
                del self._answers[prediction_id]
        if len(heap) > 2 * len(self._answers) + STALE_EXPIRIES:
            self._expiries = [(self._expiry(each), key) for key, each in self._answers.items()]
            heapq.heapify(self._expiries)
        return over

    def _forget_early(self, watermark_ms: int) -> int:
        orphans = 0
        heap, limit = self._early_expiries, self._horizons.answers
        while heap and (heap[0][0] < watermark_ms or len(self._early) > limit):
            expiry, key = heapq.heappop(heap)
            truth = self._early.get(key)
            if truth is not None and truth.at_ms + self._horizons.late_ms == expiry:
                orphans += 1
                del self._early[key]
        return orphans


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
