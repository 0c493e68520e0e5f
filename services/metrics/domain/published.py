"""Comparisons and summaries as they are published: numbers, or a reason; never a blank."""

from collections.abc import Mapping
from functools import partial

from libs.statistics.differences import NotEnough
from libs.statistics.sequences import shown_p_value
from libs.statistics.sums import Sums
from schemas.experiments import Experiment, ExperimentKind
from schemas.policies import PLANNED_METHODS, Method
from schemas.results import Comparison, Summary
from services.metrics.domain.corrections import Family
from services.metrics.domain.evidence import Compared, shown_log_p
from services.metrics.domain.known import Known
from services.metrics.domain.methods.base import Shown
from services.metrics.domain.totals import ExperimentTotals

Fields = dict[str, object]

BANDIT_NOTE = (
    "the weights follow the results, so raw means are biased: estimate the effect by inverse propensity "
    "weighting from the logged propensities"
)


def comparisons(
    experiment: Experiment,
    compared: tuple[Compared, ...],
    smallest: Mapping[str, float],
    corrected: Family,
    known: Known,
) -> tuple[Comparison, ...]:
    """Return the comparisons in the order of the definition."""
    found = []
    for each in compared:
        log_p, adjusted = shown_log_p(each, smallest), corrected.log_p.get(each.key)
        inputs = _Inputs(each, (log_p, adjusted, corrected.name if adjusted is not None else ""))
        found.append(known.answer(f"comparison/{each.key}", inputs, partial(_comparison, experiment, inputs)))
    return tuple(found)


class _Inputs:
    """What a published comparison depends on. Answers that are kept are kept as they are: `is` is enough."""

    __slots__ = ("each", "p_values")

    def __init__(self, each: Compared, p_values: tuple[float | None, float | None, str]) -> None:
        self.each = each
        self.p_values = p_values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Inputs) and self.each is other.each and self.p_values == other.p_values

    __hash__ = None  # type: ignore[assignment]


def _comparison(experiment: Experiment, inputs: _Inputs) -> Comparison:
    each, shown = inputs.each, inputs.each.shown
    log_p, adjusted, family = inputs.p_values
    policy, control_units = experiment.policy, each.control_units
    base: Fields = {
        "metric": each.metric.name,
        "kind": each.metric.kind,
        "role": each.metric.role,
        "direction": each.metric.direction,
        "variant": each.variant,
        "control": each.control,
        "units": each.units,
        "control_units": control_units,
        "alpha": policy.alpha,
        "margin": each.metric.margin,
        "planned_units": policy.planned_units if policy.method in PLANNED_METHODS else None,
        "looks": policy.looks if policy.method is Method.GROUP_SEQUENTIAL else None,
    }
    if isinstance(shown, NotEnough):
        return Comparison.model_validate(
            base | {"sufficient": False, "reason": shown.reason[:2_000], "method": _NAMES[policy.method]}
        )
    numbers: Fields = {
        "sufficient": True,
        "reason": "",
        "estimate": shown.estimate,
        "lower": shown.lower,
        "upper": shown.upper,
        "method": shown.method[:256],
        "p_value": None if log_p is None else shown_p_value(log_p),
        "adjusted_p_value": None if adjusted is None else shown_p_value(adjusted),
        "family": family,
        "tuned_units": policy.tuned_units if shown.always_valid else None,
        "note": _note(experiment, each, shown),
    }
    return Comparison.model_validate(base | numbers | _lift(each, shown) | _belief(shown) | _look(shown))


_NAMES = {
    Method.ALWAYS_VALID: "always valid",
    Method.FIXED_HORIZON: "fixed horizon",
    Method.GROUP_SEQUENTIAL: "group-sequential",
    Method.BAYESIAN: "Bayesian",
}


def _note(experiment: Experiment, each: Compared, shown: Shown) -> str:
    notes = [shown.note]
    if each.adjustment is not None and each.adjustment.reason:
        notes.append(f"not adjusted by CUPED: {each.adjustment.reason}")
    if experiment.kind is ExperimentKind.BANDIT:
        notes.append(BANDIT_NOTE)
    return "; ".join(note for note in notes if note)[:2_000]


def _lift(each: Compared, shown: Shown) -> Fields:
    by = each.adjustment
    reduction = by.variance_reduction if by is not None and not by.reason else None
    fields: Fields = {"variance_reduction": reduction}
    if isinstance(shown.lift, NotEnough):
        relative = None if isinstance(each.answer, NotEnough) else each.answer.relative
        return fields | {"relative": relative, "relative_reason": shown.lift.reason[:2_000]}
    return fields | {
        "relative": shown.lift.estimate,
        "relative_lower": shown.lift.lower,
        "relative_upper": shown.lift.upper,
        "relative_method": shown.lift.method[:256],
    }


def _belief(shown: Shown) -> Fields:
    if shown.belief is None:
        return {}
    return {
        "chance_to_beat_control": min(1.0, max(0.0, shown.belief.chance_to_beat_control)),
        "expected_loss": shown.belief.expected_loss,
        "expected_loss_of_control": shown.belief.expected_loss_of_control,
    }


def _look(shown: Shown) -> Fields:
    if shown.look is None:
        return {}
    return {"look": len(shown.look.units), "bound": shown.look.bound, "crossed": shown.look.crossed}


def summaries(experiment: Experiment, totals: ExperimentTotals, known: Known) -> tuple[Summary, ...]:
    """Return mean and variance of every metric in every variant, in the order of the definition."""
    found = []
    for metric in experiment.metrics:
        for variant in experiment.variants:
            place = (variant.key, metric.name)
            sums = totals.metric(*place)
            found.append(known.answer(f"summary/{place}", sums, partial(_summary, place, sums)))
    return tuple(found)


def _summary(place: tuple[str, str], sums: Sums) -> Summary:
    variant, metric = place
    return Summary(
        variant=variant,
        metric=metric,
        units=sums.units,
        converted_units=sums.converted_units,
        mean=sums.mean,
        variance=sums.variance,
    )
