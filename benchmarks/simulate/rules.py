"""What is watched for: each rule over arrays, and in the product's own words.

Over arrays a rule is an excess in standard errors: positive where the rule fires.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.simulate.arrays import Pairs, one_sided, two_sided
from benchmarks.simulate.populations import Floats
from libs.statistics.comparisons import Answer, Question, compare_arms
from libs.statistics.differences import Arms
from libs.statistics.lifts import (
    DELTA_FEWEST_ERRORS,
    VALUES_BURN_IN_UNITS,
    LiftInterval,
    LiftMethod,
    always_valid_lift,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, twice."""

    name: str
    excess: Callable[[Pairs, Question], Floats]
    fires: Callable[[Arms, Question], bool]


def _sign(question: Question) -> float:
    return 1.0 if question.better_when_higher else -1.0


def _answered(arms: Arms, question: Question, says: Callable[[Answer], bool]) -> bool:
    found = compare_arms(arms, question)
    return isinstance(found, Answer) and says(found)


def _harm(pairs: Pairs, question: Question) -> Floats:
    estimate, variance = pairs.contrast(1.0)
    return -_sign(question) * estimate / np.sqrt(variance) - one_sided(pairs.n1 + pairs.n0, question.tuning)


def _breach(pairs: Pairs, question: Question) -> Floats:
    worse = -_sign(question) * (pairs.m1 - pairs.m0)
    beyond = np.where(pairs.m0 == 0.0, worse > 0.0, worse > question.margin * np.abs(pairs.m0))
    return np.where(beyond, _harm(pairs, question), -np.inf)


def _differs(pairs: Pairs, question: Question) -> Floats:
    estimate, variance = pairs.contrast(1.0)
    return np.abs(estimate) / np.sqrt(variance) - two_sided(pairs.n1 + pairs.n0, question.tuning)


def _approves(pairs: Pairs, question: Question) -> Floats:
    sign = _sign(question)
    estimate, variance = pairs.contrast(1.0 - sign * question.margin)
    found = sign * estimate / np.sqrt(variance) - one_sided(pairs.n1 + pairs.n0, question.tuning)
    return np.where(pairs.m0 > 0.0, found, -np.inf)


HARM = Rule("harm", _harm, lambda arms, asked: _answered(arms, asked, lambda found: found.harmful))
BREACH = Rule(
    "guardrail",
    _breach,
    lambda arms, asked: _answered(arms, asked, lambda found: found.harmful and found.worse_than_margin),
)
DIFFERS = Rule(
    "interval excludes 0",
    _differs,
    lambda arms, asked: _answered(arms, asked, lambda found: found.log_p < math.log(asked.tuning.alpha)),
)
APPROVES = Rule(
    "harm excluded", _approves, lambda arms, asked: _answered(arms, asked, lambda it: it.harm_within_margin)
)
"""For means above 0 alone."""


def loses_difference(difference: float) -> Rule:
    """Return the error of the interval of the difference: it is without the true one."""

    def excess(pairs: Pairs, question: Question) -> Floats:
        estimate, variance = pairs.contrast(1.0)
        away: Floats = np.abs(estimate - difference) / np.sqrt(variance)
        return away - two_sided(pairs.n1 + pairs.n0, question.tuning)

    def fires(arms: Arms, question: Question) -> bool:
        return _answered(arms, question, lambda found: not found.lower <= difference <= found.upper)

    return Rule("true difference lost", excess, fires)


def _lift_burn_in(question: Question) -> int:
    return 0 if question.proportion else VALUES_BURN_IN_UNITS


def loses_lift(lift: float, method: LiftMethod) -> Rule:
    """Return the error of a relative interval: there, and without the true lift. For means above 0."""

    def fieller(pairs: Pairs, question: Question) -> Floats:
        estimate, variance = pairs.contrast(1.0 + lift)
        radius = two_sided(pairs.n1 + pairs.n0, question.tuning)
        bounded = pairs.m0**2 > radius**2 * (pairs.v0 + pairs.shared)
        return np.where(bounded, np.abs(estimate) / np.sqrt(variance) - radius, -np.inf)

    def delta(pairs: Pairs, question: Question) -> Floats:
        ratio = pairs.m1 / pairs.m0
        error = np.sqrt(pairs.contrast(ratio)[1]) / np.abs(pairs.m0)
        told = np.abs(pairs.m0) >= DELTA_FEWEST_ERRORS * np.sqrt(pairs.v0)
        found = np.abs(ratio - 1.0 - lift) / error - two_sided(pairs.n1 + pairs.n0, question.tuning)
        return np.where(told, found, -np.inf)

    def excess(pairs: Pairs, question: Question) -> Floats:
        found = (fieller if method is LiftMethod.FIELLER else delta)(pairs, question)
        return np.where(np.minimum(pairs.n1, pairs.n0) >= _lift_burn_in(question), found, -np.inf)

    def fires(arms: Arms, question: Question) -> bool:
        found = always_valid_lift(arms, question.tuning, method, burn_in_units=_lift_burn_in(question))
        return isinstance(found, LiftInterval) and not found.lower <= lift <= found.upper

    return Rule(f"true lift lost, {method.value}", excess, fires)
