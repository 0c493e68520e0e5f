"""Several questions at once: p-values adjusted so that the family keeps its error rate, as logarithms.

A family is what the caller puts together: all goals of an experiment over all its variants. Guardrails stay
out of it: missing a harm is the costly error, so their evidence is not corrected down.

* Holm (1979) holds the chance of any false finding at alpha, whatever the dependence of the questions.
* Benjamini, Hochberg (1995) hold the expected share of false findings at alpha, for questions that are
  independent or positively dependent; for discovery, where one more false lead is no disaster.

Always-valid p-values may be adjusted at any moment: each stays one.
"""

import math
import sys
from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key", bound=Hashable)

Floats = NDArray[np.float64]


def holm(log_p: Mapping[Key, float]) -> dict[Key, float]:
    """Return ln of Holm's adjusted p-value of each question: max over j ≤ i of (m - j + 1) p_(j), at most 1.

    Raises ValueError for a NaN. Not finite logarithms are taken to the largest float.
    """
    values, order = _sorted(log_p)
    left = np.log(np.arange(len(values), 0, -1))
    return _back(log_p, order, np.maximum.accumulate(values + left))


def benjamini_hochberg(log_p: Mapping[Key, float]) -> dict[Key, float]:
    """Return ln of the adjusted p-value of each question: min over j ≥ i of m p_(j) / j, at most 1.

    Raises ValueError for a NaN. Not finite logarithms are taken to the largest float.
    """
    values, order = _sorted(log_p)
    count = len(values)
    factors = math.log(max(count, 1)) - np.log(np.arange(1, count + 1))
    return _back(log_p, order, np.minimum.accumulate((values + factors)[::-1])[::-1])


def _sorted(log_p: Mapping[Key, float]) -> tuple[Floats, NDArray[np.intp]]:
    values = np.fromiter(log_p.values(), dtype=np.float64, count=len(log_p))
    if np.isnan(values).any():
        raise ValueError("log_p: must be numbers, leave out questions without evidence")
    values = np.clip(values, -sys.float_info.max, 0.0)
    order = np.argsort(values, kind="stable")
    return values[order], order


def _back(log_p: Mapping[Key, float], order: NDArray[np.intp], adjusted: Floats) -> dict[Key, float]:
    capped = np.empty_like(adjusted)
    capped[order] = np.minimum(adjusted, 0.0)
    return dict(zip(log_p, capped.tolist(), strict=True))
