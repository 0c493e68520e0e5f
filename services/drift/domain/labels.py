"""Answers and truths as text, so that 3, 3.0 and "3" are one class."""

from collections.abc import Mapping

_EXACT_WHOLE = 1e15
"""Below this a float that is whole is exactly that integer."""


def label_text(label: float | str) -> str:
    """Return the canonical text of an output or label: whole numbers without a point, text as it is."""
    if isinstance(label, str):
        return label
    if label == int(label) and abs(label) < _EXACT_WHOLE:
        return str(int(label))
    return repr(label)


def is_real(output: float | str) -> bool:
    """Return True for a number with a fraction: the output of a regressor, not of a classifier."""
    return not isinstance(output, str) and output != int(output)


def numeric_part(features: Mapping[str, float | bool | str | None]) -> dict[str, float]:
    """Return the features that are numbers, by name in sorted order; truth values count as 0 and 1."""
    return {
        name: float(value)
        for name, value in sorted(features.items())
        if value is not None and not isinstance(value, str)
    }
