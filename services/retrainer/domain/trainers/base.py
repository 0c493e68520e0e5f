"""What a trainer promises.

It learns to tell classes apart from a table of numbers. The same table and seed give the same model. Missing
values (NaN) are legal in training and in use, in any column. What it returns is a scikit-learn classifier
that skops can write, and read again with `trusted_types` alone. It uses one processor, sets no global state.

To add a kind: one file beside this one, one line in the registry; the contract suite finds it there.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from libs.common.errors import Refused

Table = NDArray[np.float64]
"""One row per example, one column per feature; NaN where a value is missing."""

Labels = NDArray[np.str_] | NDArray[np.int64]
"""One class per row."""


class Classifier(Protocol):
    """A trained model, as scikit-learn has it."""

    classes_: Labels

    def predict(self, table: Table) -> Labels:
        """Return the most probable class of each row."""

    def predict_proba(self, table: Table) -> NDArray[np.float64]:
        """Return the probability of each class of `classes_`, per row."""


class Trainer(Protocol):
    """One way to learn."""

    trusted_types: tuple[str, ...]
    """Types that skops must be told to trust when it reads this trainer's models; reviewed, not collected."""

    def parameters(self) -> Mapping[str, str]:
        """Return the hyper-parameters that matter, for the record."""

    def train(self, table: Table, labels: Labels, seed: int) -> Classifier:
        """Return a classifier of at least two classes.

        Raises Refused when the examples cannot be learnt from.
        """


def refuse_single_class(labels: Labels) -> None:
    """Raise Refused when there are not two classes to tell apart."""
    if np.unique(labels).size < 2:
        raise Refused("all examples to train on have the same label: there is nothing to tell apart")
