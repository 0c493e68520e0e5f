"""From labelled examples to scores: split by time, judge the candidate, hold it against the champion."""

import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support

from libs.common.errors import Refused
from services.retrainer.domain.examples import Answer, Examples, Names, class_names
from services.retrainer.domain.report import Comparison
from services.retrainer.domain.trainers.base import Classifier


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
