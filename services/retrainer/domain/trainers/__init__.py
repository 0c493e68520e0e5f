"""The plug room of trainers: one file per kind, and the registry that the contract suite runs over."""

from collections.abc import Mapping
from types import MappingProxyType

from services.retrainer.domain.trainers.base import Classifier, Trainer
from services.retrainer.domain.trainers.logistic_regression import LogisticRegressionTrainer
from services.retrainer.domain.trainers.random_forest import RandomForestTrainer

TRAINERS: Mapping[str, Trainer] = MappingProxyType(
    {
        "logistic_regression": LogisticRegressionTrainer(),
        "random_forest": RandomForestTrainer(),
    }
)

TRUSTED_TYPES = tuple(sorted({each for trainer in TRAINERS.values() for each in trainer.trusted_types}))
"""All that a model file may hold beyond what skops trusts by itself."""

__all__ = ["TRAINERS", "TRUSTED_TYPES", "Classifier", "Trainer"]
