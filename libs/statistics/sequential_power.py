"""What looking on the way costs: units that always-valid and group-sequential designs take on average.

The always-valid sequence stops when its radius falls under the estimate. Without noise that is where
δ = radius(N), a deterministic approximation of the median from above: simulated medians are up to a quarter
less, as luck crosses early. With power 1 - β it is where δ - z(1 - β) √V = radius, an upper bound for the
same reason: simulated, 80 % asked are 81 to 88 %. The group-sequential design has exact chances to cross at
each look, by recursive integration under drift.
"""

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import ndtri

from libs.statistics.boundary_integration import Exits, exit_probabilities
from libs.statistics.differences import NotEnough
from libs.statistics.group_sequential import Plan, boundaries
from libs.statistics.power import MOST_UNITS, Demands, Effect, Size, sized
from libs.statistics.sequences import Tuning, one_sided_radius, two_sided_radius


@dataclass(frozen=True, slots=True)
class SequentialSize:
    """Units of a design that looks on the way."""

    typical: Size
    """If the effect is as assumed: about the median of an always-valid design, the mean of a planned one."""
    most: Size
    """With the power asked the effect has been found by then; of a planned design the last look."""


def always_valid_size(effect: Effect, demands: Demands, tuned_units: int) -> SequentialSize | NotEnough:
    """Return the units at which the always-valid sequence, tuned to `tuned_units`, finds the effect."""
    tuning = Tuning(demands.alpha, tuned_units)
    typical = sized(_meets(effect, demands, tuning, quantile=0.0), demands)
    most = sized(_meets(effect, demands, tuning, quantile=float(ndtri(demands.power))), demands)
    if isinstance(typical, NotEnough):
        return typical
    return most if isinstance(most, NotEnough) else SequentialSize(typical, most)


def _meets(effect: Effect, demands: Demands, tuning: Tuning, *, quantile: float) -> float:
    """Return the units where the estimate less `quantile` standard errors is as large as the radius."""
    unit_variance = demands.unit_variance(effect)
    radius = two_sided_radius if demands.two_sided else one_sided_radius

    def excess(log_units: float) -> float:
        units = math.exp(log_units)
        variance = unit_variance / units
        # The radius asks for whole units; below one the count does not matter to the answer.
        reached = abs(effect.size) - quantile * math.sqrt(variance)
        return reached - radius(variance, max(1, round(units)), tuning)

    last = math.log(MOST_UNITS)
    if excess(last) <= 0.0:
        return math.inf
    if excess(0.0) >= 0.0:
        return 1.0
    return math.exp(float(brentq(excess, 0.0, last, xtol=1e-9)))


def plan_exits(plan: Plan, drift: float) -> Exits:
    """Return the chances to cross at each look when z has the mean `drift` at fraction 1."""
    bounds = [(-each if plan.two_sided else -math.inf, each) for each in boundaries(plan)]
    return exit_probabilities(plan.fractions, bounds, drift)


def plan_drift(plan: Plan, power: float) -> float:
    """Return the mean of z at fraction 1 with which the plan crosses its upper bound with this power.

    Raises ValueError unless power lies between the error rate of a tail and 1.
    """
    if not plan.tail_alpha < power < 1.0:
        raise ValueError("power: must lie between the test's level and 1, both excluded")

    def missing(drift: float) -> float:
        return math.fsum(plan_exits(plan, drift).upper) - power

    high = 4.0 * (boundaries(plan)[-1] + abs(float(ndtri(power))) + 1.0)
    return float(brentq(missing, 0.0, high / math.sqrt(plan.fractions[-1]), xtol=1e-8))


def plan_size(effect: Effect, plan: Plan, demands: Demands) -> SequentialSize | NotEnough:
    """Return the units of a group-sequential design: those of a fixed test, inflated for looking on the way.

    `plan` gives the level and the sides, `demands` power and share. Inflation is (drift / fixed drift)².
    """
    drift = plan_drift(plan, demands.power)
    ratio = drift / effect.size
    planned = ratio * ratio * demands.unit_variance(effect)
    most = sized(planned * plan.fractions[-1], demands)
    exits = plan_exits(plan, drift)
    stopped = [up + down for up, down in zip(exits.upper, exits.lower, strict=True)]
    mean = math.fsum(
        chance * fraction for chance, fraction in zip(stopped, plan.fractions, strict=True)
    ) + plan.fractions[-1] * max(0.0, 1.0 - math.fsum(stopped))
    typical = sized(planned * mean, demands)
    if isinstance(most, NotEnough):
        return most
    return typical if isinstance(typical, NotEnough) else SequentialSize(typical, most)
