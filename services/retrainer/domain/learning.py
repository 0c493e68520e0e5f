"""From labelled examples to a candidate with its scores: split by time, train, hold against the champion."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support

from libs.common.errors import Refused
from services.retrainer.domain.report import Comparison
from services.retrainer.domain.trainers.base import Classifier, Labels, Table

MAX_CLASSES = 1_000

Names = NDArray[np.str_]
Answer = Callable[[Table], Names]
"""A model in use: class names for the rows of a table."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled production examples, in order of time, each prediction once."""

    ids: Names
    times_ms: NDArray[np.int64]
    versions: Names
    outputs: Names
    """What the model of `versions` answered then, as class names."""
    labels: Labels
    """What was true: strings, or whole numbers when all labels are."""
    table: Table
    features: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, start: int, stop: int) -> "Examples":
        """Return the examples from `start` up to `stop`."""
        part = slice(start, stop)
        return Examples(
            self.ids[part],
            self.times_ms[part],
            self.versions[part],
            self.outputs[part],
            self.labels[part],
            self.table[part],
            self.features,
            self.notes,
        )

    def digest(self) -> str:
        """Return the SHA-256, in hexadecimal, of ids, times, features and labels: same data, same digest."""
        digest = hashlib.sha256("\0".join((*self.features, *self.ids, *class_names(self.labels))).encode())
        digest.update(np.ascontiguousarray(self.times_ms).tobytes())
        digest.update(np.ascontiguousarray(self.table).tobytes())
        return digest.hexdigest()


def class_names(values: NDArray[np.generic]) -> Names:
    """Return class names that compare equal whoever wrote them: 7, 7.0, "7" and "7.0" are all "7"."""
    return np.array([_name(each) for each in values.tolist()], dtype=np.str_)


def _name(value: object) -> str:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return str(value)
        return _number_name(value)
    if isinstance(value, (bool, int)):
        return str(int(value))
    return _number_name(value) if isinstance(value, float) else str(value)


def _number_name(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def as_labels(values: NDArray[np.generic]) -> Labels:
    """Return labels fit to train on. Raises Refused when they are measurements, not classes."""
    if values.dtype.kind in "OUS":
        labels: Labels = values.astype(np.str_)
    elif values.dtype.kind in "biu" or np.all(values == np.floor(values.astype(np.float64))):
        labels = values.astype(np.int64)
    else:
        raise Refused("the labels are fractional numbers: no trainer for regression is installed")
    if np.unique(labels).size > MAX_CLASSES:
        raise Refused(f"the labels have more than {MAX_CLASSES} different values: are they classes?")
    return labels


def split_by_time(examples: Examples, held_out_share: float) -> tuple[Examples, Examples]:
    """Return (earlier, later): the later part is about `held_out_share` of all, and never shuffled.

    Examples of the same millisecond stay together, in the earlier part. Raises Refused when a part is empty.
    """
    total = len(examples)
    cut = int(total * (1 - held_out_share))
    if 0 < cut < total:
        cut = int(np.searchsorted(examples.times_ms, examples.times_ms[cut - 1], side="right"))
    if not 0 < cut < total:
        raise Refused(f"{total} examples do not span enough time to hold out {held_out_share:.0%} of them")
    return examples.rows(0, cut), examples.rows(cut, total)


def scores(truth: Names, answers: Names) -> dict[str, float]:
    """Return accuracy, macro F1, and the worst class's precision and recall, over the classes in `truth`."""
    classes = np.unique(truth)
    precision, recall, _, _ = precision_recall_fscore_support(
        truth, answers, labels=classes, zero_division=0.0
    )
    return {
        "accuracy": float(np.mean(truth == answers)),
        "f1": float(f1_score(truth, answers, labels=classes, average="macro", zero_division=0.0)),
        "precision_worst": float(np.min(precision)),
        "recall_worst": float(np.min(recall)),
    }


def candidate_scores(model: Classifier, later: Examples) -> tuple[dict[str, float], Names]:
    """Return the candidate's scores on held-out examples (with its mean `confidence`), and its answers."""
    answers = class_names(model.predict(later.table))
    confidence = float(np.mean(np.max(model.predict_proba(later.table), axis=1)))
    return {**scores(class_names(later.labels), answers), "confidence": confidence}, answers


def compare(later: Examples, answers: Names, champion: str, answer: Answer | None) -> Comparison | None:
    """Hold the candidate's `answers` against the champion's on the same examples.

    Where the champion version answered in production, that is its answer. For the others it is asked through
    `answer`; without that, only the examples that it answered count. None when there are none.
    """
    outputs = later.outputs.astype(object)
    known = later.versions == champion
    sources = ["recorded"] if known.any() else []
    if answer is not None and not known.all():
        outputs[~known] = answer(later.table[~known])
        known = np.ones(len(later), dtype=np.bool_)
        sources.append("artifact")
    if not known.any():
        return None
    truth = class_names(later.labels)[known]
    return Comparison(
        examples=int(known.sum()),
        candidate=scores(truth, answers[known]),
        champion=scores(truth, outputs[known].astype(np.str_)),
        source=" and ".join(sources),
    )
