"""Labels, the split by time, the scores, and the comparison with the champion."""

import numpy as np
import pytest

from libs.common.errors import Refused
from services.retrainer.domain.examples import Examples, as_labels, class_names
from services.retrainer.domain.learning import compare, scores, split_by_time


def examples(times_ms: list[int], versions: list[str] | None = None) -> Examples:
    """Examples at these times whose label is "a" and whose recorded output is "b"."""
    total = len(times_ms)
    return Examples(
        ids=np.array([f"p{each}" for each in range(total)]),
        times_ms=np.array(times_ms, dtype=np.int64),
        versions=np.array(versions or ["1"] * total),
        outputs=np.array(["b"] * total),
        labels=np.array(["a"] * total),
        table=np.arange(total, dtype=np.float64).reshape(-1, 1),
        features=("x",),
    )


def test_later_part_is_held_out() -> None:
    """The held-out part is the latest quarter, in order."""
    earlier, later = split_by_time(examples([*range(8)]), 0.25)
    assert earlier.times_ms.tolist() == [0, 1, 2, 3, 4, 5]
    assert later.times_ms.tolist() == [6, 7]
    assert later.table.tolist() == [[6.0], [7.0]]


def test_split_keeps_a_millisecond_together() -> None:
    """Examples of the same millisecond never lie on both sides."""
    earlier, later = split_by_time(examples([0, 1, 2, 2, 2, 3, 4, 5]), 0.5)
    assert earlier.times_ms.max() < later.times_ms.min()
    assert len(earlier) == 5


def test_split_refuses_what_has_no_later_part() -> None:
    """Examples that all carry the same time cannot be held out, and that is said."""
    with pytest.raises(Refused, match="span enough time"):
        split_by_time(examples([5] * 10), 0.25)


def test_class_names_agree_whoever_wrote_them() -> None:
    """Numbers, text and truth values of the same class get the same name."""
    assert class_names(np.array([7.0, 0.5])).tolist() == ["7", "0.5"]
    assert class_names(np.array(["7.0", "7", "cat", "nan"], dtype=object)).tolist() == [
        "7",
        "7",
        "cat",
        "nan",
    ]
    assert class_names(np.array([True, False])).tolist() == ["1", "0"]


def test_labels_keep_their_kind() -> None:
    """Text stays text, whole numbers become integers, measurements are refused."""
    assert as_labels(np.array(["3", "4"])).dtype.kind == "U"
    assert as_labels(np.array([3.0, 4.0])).tolist() == [3, 4]
    with pytest.raises(Refused, match="regression"):
        as_labels(np.array([0.5, 1.0]))
    with pytest.raises(Refused, match="are they classes"):
        as_labels(np.arange(1_001))


def test_scores_match_a_count_by_hand() -> None:
    """Accuracy, macro F1 and the worst class's precision and recall of a small case, by hand."""
    found = scores(np.array(["a", "a", "a", "b"]), np.array(["a", "a", "b", "b"]))
    assert found == pytest.approx(
        {"accuracy": 0.75, "f1": (0.8 + 2 / 3) / 2, "precision_worst": 0.5, "recall_worst": 2 / 3}
    )


def test_champion_is_judged_by_what_it_answered() -> None:
    """Where the champion answered in production it is not asked again."""
    later = examples([1, 2, 3, 4])
    found = compare(later, np.array(["a"] * 4), "1", None)
    assert found is not None
    assert (found.examples, found.source, found.gain) == (4, "recorded", 1.0)


def test_champion_is_asked_where_another_version_answered() -> None:
    """Examples that another version answered are put to the champion's model; all count."""
    later = examples([1, 2, 3, 4], ["1", "2", "2", "1"])
    asked = []

    def answer(table: np.ndarray) -> np.ndarray:
        asked.append(table[:, 0].tolist())
        return np.array(["a"] * len(table))

    found = compare(later, np.array(["a"] * 4), "1", answer)
    assert asked == [[1.0, 2.0]]
    assert found is not None
    assert (found.examples, found.champion["accuracy"], found.source) == (4, 0.5, "recorded and artifact")


def test_comparison_shrinks_to_what_is_known() -> None:
    """Without the champion's model only what it answered counts, for both; without any there is none."""
    later = examples([1, 2, 3, 4], ["1", "2", "2", "2"])
    found = compare(later, np.array(["b", "a", "a", "a"]), "1", None)
    assert found is not None
    assert (found.examples, found.gain) == (1, 0.0)
    assert compare(later, np.array(["a"] * 4), "9", None) is None


def test_digest_depends_on_the_data_alone() -> None:
    """The same examples have the same digest; another time gives another."""
    assert examples([1, 2]).digest() == examples([1, 2]).digest()
    assert examples([1, 2]).digest() != examples([1, 3]).digest()
