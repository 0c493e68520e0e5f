"""The thresholds, and the comparison with the champion."""

import pytest

from services.retrainer.domain.card import write_card
from services.retrainer.domain.report import Comparison, TrainingOrder, TrainingReport
from services.retrainer.domain.validation import Thresholds, judge

GOOD = {"accuracy": 0.9, "f1": 0.9, "precision_worst": 0.8, "recall_worst": 0.8, "confidence": 0.8}


def report(*, champion: float | None = 0.8, examples: int = 500, **scores: float) -> TrainingReport:
    """A report with good scores and a champion of this accuracy, unless said."""
    comparison = None
    if champion is not None:
        comparison = Comparison(
            examples=examples,
            candidate={**GOOD, **scores},
            champion={"accuracy": champion},
            source="recorded",
        )
    return TrainingReport(
        trainer="random_forest",
        parameters={"trees": "100"},
        features=("x",),
        classes=("a", "b"),
        classes_are_numbers=False,
        trained_on=1_500,
        held_out=500,
        first_ms=1,
        split_ms=2,
        last_ms=3,
        data_hash="abc",
        scores={**GOOD, **scores},
        champion_version=None if champion is None else "1",
        comparison=comparison,
        notes=("A note.",),
    )


def test_better_candidate_passes() -> None:
    """A candidate above all thresholds and better than the champion passes, with the numbers."""
    judgement = judge(report(), Thresholds())
    assert judgement.passed
    assert "0.900" in judgement.reason
    assert "0.800" in judgement.reason


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_threshold_counts(name: str) -> None:
    """Each score below its threshold is enough to be rejected, and is named."""
    judgement = judge(report(**{name: 0.5}, champion=0.1), Thresholds())
    assert not judgement.passed
    assert judgement.reason.startswith(f"{name} 0.500 is below")


def test_as_good_as_the_champion_is_not_better() -> None:
    """Equal accuracy is no gain: rejected, with both numbers."""
    judgement = judge(report(champion=0.9), Thresholds())
    assert not judgement.passed
    assert "0.900 against 0.900" in judgement.reason


def test_gain_must_reach_its_minimum() -> None:
    """A gain below the minimum is rejected, one that reaches it passes."""
    assert not judge(report(champion=0.85), Thresholds(min_gain=0.1)).passed
    assert judge(report(champion=0.75), Thresholds(min_gain=0.1)).passed


def test_no_champion_needs_no_comparison() -> None:
    """Where there is no champion the thresholds alone decide."""
    assert judge(report(champion=None), Thresholds()).passed


def test_too_few_comparable_examples_prove_nothing() -> None:
    """A champion that can be judged on a few examples only is not beaten; the notes say why."""
    judgement = judge(report(examples=20), Thresholds())
    assert not judgement.passed
    assert "20 held-out examples only: A note." in judgement.reason


def test_too_few_held_out_examples_prove_nothing() -> None:
    """Below the minimum of held-out examples no score counts."""
    assert "at least 501 are needed" in judge(report(), Thresholds(min_held_out=501)).reason


def test_card_tells_data_scores_and_notes() -> None:
    """The card tells the cause, the data's hash, the scores with the champion's, and the notes."""
    order = TrainingOrder(
        retraining_id="r1",
        model="m",
        cause="degradation",
        reason="accuracy fell",
        examples_dir="/nowhere",
        from_ms=0,
        until_ms=9,
        max_examples=10,
        trainer="random_forest",
        mlflow_tracking_uri="http://localhost",
        registry_timeout_ms=1,
    )
    card = write_card(order, report())
    for part in ("# m: candidate", "accuracy fell", "abc", "| champion_accuracy | 0.8000 |", "- A note."):
        assert part in card
    assert "there was none" in write_card(order, report(champion=None))
