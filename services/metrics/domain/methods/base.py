"""What a method promises: the numbers of one comparison, finite, or the reason why there are none.

A method is a pure function of a matter and its always-valid evidence. It says in `note` what to know before
one acts on its numbers. Where it has no answer of its own for a kind of metric it shows the always-valid
evidence and says so. A new method is one file and one line in `registry.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from libs.statistics.bayes import Belief
from libs.statistics.comparisons import Answer
from libs.statistics.differences import NotEnough
from libs.statistics.lifts import LiftInterval
from services.metrics.domain.always_valid import Evidenced
from services.metrics.domain.matters import Matter
from services.metrics.domain.memory import LookMemory


@dataclass(frozen=True, slots=True)
class Shown:
    """The numbers of a comparison: treatment minus control."""

    estimate: float
    lower: float
    upper: float
    method: str
    lift: LiftInterval | NotEnough
    log_p: float | None = None
    """ln of the p-value; None where the method has none."""
    always_valid: bool = False
    """The p-value may be kept as a running minimum."""
    belief: Belief | None = None
    look: LookMemory | None = None
    """The planned look that these numbers are of."""
    note: str = ""


Show: TypeAlias = Callable[[Matter, Evidenced], Shown | NotEnough]


def always_valid(found: Evidenced, note: str = "") -> Shown | NotEnough:
    """Return the always-valid evidence as it is shown."""
    if isinstance(found.answer, NotEnough):
        return found.answer
    answer: Answer = found.answer
    return Shown(
        estimate=answer.estimate,
        lower=answer.lower,
        upper=answer.upper,
        method=found.shown_as,
        lift=found.lift(),
        log_p=answer.log_p,
        always_valid=True,
        note=note,
    )


def finite(shown: Shown | NotEnough) -> Shown | NotEnough:
    """Return what can be published: without a number that is not finite, a lift without bounds if need be."""
    if isinstance(shown, NotEnough):
        return shown
    if not math.isfinite(shown.estimate + shown.lower + shown.upper):
        return NotEnough("the values are too large or too small for a number")
    lift = shown.lift
    if isinstance(lift, LiftInterval) and not math.isfinite(lift.estimate + lift.lower + lift.upper):
        return replace(shown, lift=NotEnough("the control is too near 0 for a relative lift"))
    return shown
