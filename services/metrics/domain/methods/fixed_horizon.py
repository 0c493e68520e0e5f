"""Fixed horizon: the classical tests, which mean something at one look at the planned size, not before."""

from libs.statistics.differences import Arms, NotEnough
from libs.statistics.fixed_horizon import Fixed, two_proportions, welch
from libs.statistics.lifts import fixed_lift
from libs.statistics.quantile_comparisons import planned_log_p_value
from libs.statistics.quantiles import Asked, Look, quantile_difference
from libs.statistics.sequences import Tuning
from services.metrics.domain.always_valid import Evidenced
from services.metrics.domain.matters import Matter
from services.metrics.domain.methods.base import Shown


def show(matter: Matter, _found: Evidenced) -> Shown | NotEnough:
    """Return the test, and the note until when it means nothing."""
    if matter.is_quantile:
        return _quantiles(matter)
    alpha = matter.policy.alpha
    plain = matter.arms(floored=False)
    if matter.question.proportion and matter.adjustment is None:
        test: Fixed | NotEnough = two_proportions(matter.treatment, matter.control, alpha)
    else:
        test = plain if isinstance(plain, NotEnough) else welch(plain, alpha)
    if isinstance(test, NotEnough):
        return test
    # A rate's own variance may be 0; the floored one of the difference's neighbour never is.
    both: Arms | NotEnough = matter.arms() if matter.question.proportion else plain
    return Shown(
        estimate=test.estimate,
        lower=test.lower,
        upper=test.upper,
        method=test.method + (", CUPED" if matter.adjustment is not None else ""),
        lift=both if isinstance(both, NotEnough) else fixed_lift(both, alpha, test.df),
        log_p=test.log_p,
        note=_note(matter),
    )


def _quantiles(matter: Matter) -> Shown | NotEnough:
    share, policy = matter.metric.quantile, matter.policy
    assert share is not None, "a quantile says which one"
    asked = Asked(share, Tuning(policy.alpha, policy.tuned_units), Look.PLANNED)
    found = quantile_difference(*matter.sketches, asked)
    if isinstance(found, NotEnough):
        return found
    return Shown(
        estimate=found.estimate,
        lower=found.lower,
        upper=found.upper,
        method=found.method,
        lift=NotEnough("for one planned look the lift of a quantile has no interval"),
        log_p=planned_log_p_value(*matter.sketches, share),
        note=_note(matter),
    )


def _note(matter: Matter) -> str:
    planned, units = matter.policy.planned_units, matter.units
    assert planned is not None, "the policy asks for it"
    if units < planned:
        return f"means nothing until {planned} units are in; {units} are"
    return f"planned for {planned} units, {units} are in: valid for one look, not for looking again"
