"""Targeting: conditions on a unit's attributes, in GrowthBook's syntax."""

from collections.abc import Callable, Mapping
from typing import Any

Condition = Callable[[Mapping[str, Any]], bool]


class BadCondition(ValueError):
    """A condition that cannot be evaluated; the message names the operator or the path."""


def compile_condition(document: Mapping[str, Any]) -> Condition:
    """Return the condition as a function of the attributes, which raises nothing. Raises BadCondition."""
    wanted = dict(document)
    return lambda attributes: all(attributes.get(name) == value for name, value in wanted.items())
