"""Group-sequential: a few planned looks on the way to a planned size; between them nothing new is shown.

A look is taken when the units of all variants first pass its place (k of K parts of the planned units), at
the units that there are then: how the error rate is spent follows from these, not from what is seen. After a
boundary is crossed no further look is taken. Numbers between looks are those of the last one.
"""

import math

from libs.statistics.differences import Arms, NotEnough
from libs.statistics.group_sequential import MIN_GAP, Plan, Spending, look_at, repeated_interval
from libs.statistics.lifts import LiftInterval, fixed_lift
from schemas.experiments import Policy
from services.metrics.domain.always_valid import Evidenced
from services.metrics.domain.matters import Matter
from services.metrics.domain.memory import LookMemory
from services.metrics.domain.methods.base import Shown, always_valid

METHOD = "group-sequential, repeated confidence interval"
LIFT = "Fieller, at the look's bound"
_SMALLEST = 1e-300


def show(matter: Matter, found: Evidenced) -> Shown | NotEnough:
    """Return the numbers of the last look, a new one where it is due; or where the first one will be."""
    if matter.is_quantile:
        return always_valid(found, "a quantile has no planned looks; this is the always-valid evidence")
    plan = plan_name(matter.policy)
    before = matter.look if matter.look is not None and matter.look.plan == plan else None
    if _is_due(matter, before):
        if isinstance(found.answer, NotEnough):
            return found.answer
        both = matter.arms()
        if isinstance(both, NotEnough):
            return both
        before = _taken(matter, both, before)
    if before is None:
        looks, first = matter.policy.looks, -(-_planned(matter) // matter.policy.looks)
        return NotEnough(f"the first of {looks} planned looks is at {first} units; {matter.units} are in")
    return _shown(matter, before)


def plan_name(policy: Policy) -> str:
    """Return a name that changes with the plan."""
    return f"{policy.looks} looks to {policy.planned_units} units, {policy.spending}, alpha {policy.alpha}"


def _planned(matter: Matter) -> int:
    planned = matter.policy.planned_units
    assert planned is not None, "the policy asks for it"
    return planned


def _is_due(matter: Matter, before: LookMemory | None) -> bool:
    planned, looks = _planned(matter), matter.policy.looks
    if before is None:
        return matter.units * looks >= planned
    if before.crossed:
        return False
    now, last = min(matter.units, planned), min(before.units[-1], planned)
    return now * looks // planned > last * looks // planned and now - last >= MIN_GAP * planned


def _taken(matter: Matter, both: Arms, before: LookMemory | None) -> LookMemory:
    policy, planned = matter.policy, _planned(matter)
    units = (*(before.units if before else ()), matter.units)
    fractions = tuple(min(each, planned) / planned for each in units)
    plan = Plan(fractions, policy.alpha, Spending(policy.spending.value))
    look = look_at(plan, len(units), both.estimate / math.sqrt(both.variance))
    lower, upper = repeated_interval(both.estimate, both.variance, look.bound)
    lift = fixed_lift(both, max(math.erfc(look.bound / math.sqrt(2.0)), _SMALLEST))
    return LookMemory(
        plan=plan_name(policy),
        units=units,
        bound=look.bound,
        crossed=look.crossed,
        log_p=look.log_p,
        difference=(both.estimate, lower, upper),
        lift=(lift.estimate, lift.lower, lift.upper) if isinstance(lift, LiftInterval) else None,
        lift_reason="" if isinstance(lift, LiftInterval) else lift.reason,
    )


def _shown(matter: Matter, look: LookMemory) -> Shown:
    estimate, lower, upper = look.difference
    adjusted = ", CUPED" if matter.adjustment is not None else ""
    return Shown(
        estimate=estimate,
        lower=lower,
        upper=upper,
        method=f"{METHOD}, {matter.policy.spending}{adjusted}",
        lift=NotEnough(look.lift_reason) if look.lift is None else LiftInterval(*look.lift, LIFT),
        log_p=look.log_p,
        look=look,
        note=_note(matter, look),
    )


def _note(matter: Matter, look: LookMemory) -> str:
    planned, looks = _planned(matter), matter.policy.looks
    place = f"as of look {len(look.units)}, at {look.units[-1]} of {planned} units"
    if look.crossed:
        return f"{place}: the boundary is crossed; no further look is taken"
    last = min(look.units[-1], planned) * looks // planned
    if last >= looks:
        return f"{place}: the last look; the boundary was not crossed"
    return f"{place}; the next look is at {-(-planned * (last + 1) // looks)}"
