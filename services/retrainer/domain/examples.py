"""Labelled production examples: what a candidate learns from and is judged by."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.common.errors import Refused
from services.retrainer.domain.trainers.base import Labels, Table

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
