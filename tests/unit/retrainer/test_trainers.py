"""Every trainer of the registry keeps the promises of trainers/base.py."""

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_digits, load_iris

from libs.common.errors import Refused
from services.retrainer.domain.trainers import TRAINERS, TRUSTED_TYPES, Trainer
from services.retrainer.domain.trainers.base import Labels, Table


@pytest.fixture(params=sorted(TRAINERS))
def trainer(request: pytest.FixtureRequest) -> Trainer:
    """Each trainer in turn."""
    return TRAINERS[request.param]


def iris() -> tuple[Table, Labels]:
    """150 flowers, mixed, so that any part holds all classes."""
    table, labels = load_iris(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(labels))
    return table[order], np.array([f"kind {each}" for each in labels[order]])


def test_learns_to_tell_classes_apart(trainer: Trainer) -> None:
    """Two thirds of the flowers teach it to name at least 85 % of the rest."""
    table, labels = iris()
    model = trainer.train(table[:100], labels[:100], 0)
    assert np.mean(model.predict(table[100:]) == labels[100:]) >= 0.85
    assert sorted(model.classes_) == sorted(set(labels))
    assert np.allclose(model.predict_proba(table[100:]).sum(axis=1), 1)


def test_learns_digits_from_few_hundred(trainer: Trainer) -> None:
    """600 images with whole numbers as labels teach it to read at least 85 % of others, as whole numbers."""
    table, labels = load_digits(return_X_y=True)
    model = trainer.train(table[:600], labels[:600].astype(np.int64), 0)
    answers = model.predict(table[600:900])
    assert answers.dtype.kind == "i"
    assert np.mean(answers == labels[600:900]) >= 0.85


def test_same_seed_gives_the_same_model(trainer: Trainer) -> None:
    """The same examples and seed give the same probabilities to the last digit."""
    table, labels = iris()
    first, second = (trainer.train(table, labels, 7).predict_proba(table) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("train_with_gaps", [True, False])
def test_missing_values_are_legal(trainer: Trainer, train_with_gaps: bool) -> None:
    """Missing values harm neither training nor use, whether training has met any or not."""
    table, labels = iris()
    gaps = table.copy()
    gaps[::7, 1] = np.nan
    model = trainer.train(gaps if train_with_gaps else table, labels, 0)
    assert np.mean(model.predict(gaps) == labels) >= 0.85


def test_model_survives_skops_with_the_trusted_types(trainer: Trainer) -> None:
    """Written by skops and read with its own trusted types alone, a model answers as before."""
    table, labels = iris()
    model = trainer.train(table, labels, 0)
    again = skops.io.loads(skops.io.dumps(model), trusted=list(trainer.trusted_types))
    assert np.array_equal(again.predict(table), model.predict(table))
    assert set(trainer.trusted_types) <= set(TRUSTED_TYPES)


def test_one_class_is_refused(trainer: Trainer) -> None:
    """Examples of one class only are refused in words."""
    with pytest.raises(Refused, match="same label"):
        trainer.train(np.zeros((5, 2)), np.array(["a"] * 5), 0)


def test_parameters_are_told(trainer: Trainer) -> None:
    """Each trainer tells its hyper-parameters as text."""
    assert trainer.parameters()
    assert all(isinstance(value, str) for value in trainer.parameters().values())
