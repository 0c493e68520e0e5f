"""Training a candidate on examples in memory, with and without the champion's model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

from libs.common.errors import Misconfigured, Refused, Retryable
from services.retrainer.domain.examples import Answer, Examples
from services.retrainer.domain.report import TrainingOrder
from services.retrainer.handlers.train_candidate import train_candidate


@dataclass
class InMemory:
    """Examples and champions, without files or a registry."""

    examples: Examples
    trouble: Exception | None = None

    def read(self, model: str, from_ms: int, until_ms: int, *, most: int) -> Examples:
        """Return all examples."""
        return self.examples

    def answers(self, model: str, version: str, features: Sequence[str]) -> Answer:
        """Return a champion that always says the same."""
        if self.trouble:
            raise self.trouble
        return lambda table: np.array(["0"] * len(table))


@pytest.fixture
def place() -> InMemory:
    """400 flowers, a third of them answered by version 1, which said "1" each time."""
    table, labels = load_iris(return_X_y=True)
    chosen = np.random.default_rng(3).integers(0, len(labels), 400)
    return InMemory(
        Examples(
            ids=np.array([f"p{each}" for each in range(400)]),
            times_ms=np.arange(400, dtype=np.int64),
            versions=np.array(["1" if each % 3 == 0 else "2" for each in range(400)]),
            outputs=np.array(["1"] * 400),
            labels=labels[chosen].astype(str),
            table=table[chosen],
            features=("a", "b", "c", "d"),
            notes=("A note.",),
        )
    )


def order(**fields: object) -> TrainingOrder:
    """An order."""
    plain = {
        "retraining_id": "r1",
        "model": "m",
        "cause": "request",
        "reason": "because",
        "examples_dir": Path("/nowhere"),
        "from_ms": 0,
        "until_ms": 1_000,
        "max_examples": 1_000,
        "trainer": "logistic_regression",
        "champion_version": "1",
        "mlflow_tracking_uri": "http://nowhere",
        "registry_timeout_ms": 1,
    }
    return TrainingOrder.model_validate({**plain, **fields})


def test_candidate_comes_with_report_reference_and_card(place: InMemory) -> None:
    """A candidate beats a champion that always says the same, judged on all held-out examples."""
    candidate = train_candidate(order(), place, place)
    report = candidate.report
    assert (report.trained_on, report.held_out, report.split_ms) == (300, 100, 300)
    assert report.comparison is not None
    assert (report.comparison.examples, report.comparison.source) == (100, "recorded and artifact")
    assert report.comparison.gain > 0.3
    assert report.all_scores()["gain"] == report.comparison.gain
    assert {each.feature for each in candidate.reference.features} == {"a", "b", "c", "d"}
    assert candidate.reference.score == report.scores["accuracy"]
    assert candidate.card.startswith("# m: candidate of retraining r1")


def test_same_order_gives_the_same_report(place: InMemory) -> None:
    """A repeated training on the same examples gives the same report, to the last digit."""
    assert train_candidate(order(), place, place).report == train_candidate(order(), place, place).report


def test_champion_that_cannot_be_asked_is_judged_by_its_record(place: InMemory) -> None:
    """When the champion's model cannot be used, only what it answered counts, and a note says why."""
    place.trouble = Refused("it is a pickle")
    report = train_candidate(order(), place, place).report
    assert report.comparison is not None
    assert (report.comparison.examples, report.comparison.source) == (34, "recorded")
    assert report.notes[-1] == "The champion is judged by its recorded answers alone: it is a pickle."


def test_no_champion_no_comparison(place: InMemory) -> None:
    """Without a champion there are scores, but no comparison."""
    report = train_candidate(order(champion_version=None), place, place).report
    assert report.comparison is None
    assert "gain" not in report.all_scores()


def test_registry_away_ends_before_training(place: InMemory) -> None:
    """When the registry does not answer, the training is put off rather than done in vain."""
    place.trouble = Retryable("MLflow is away")
    place.examples = replace(place.examples, labels=np.array(["same"] * 400))
    with pytest.raises(Retryable):
        train_candidate(order(), place, place)


def test_unknown_trainer_is_named(place: InMemory) -> None:
    """A trainer that is not installed is refused with those that are."""
    with pytest.raises(Misconfigured, match="logistic_regression, random_forest"):
        train_candidate(order(trainer="magic"), place, place)
