"""What comparisons show under each method of a policy, and what acts whatever is shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from libs.statistics.bayes import CONTINUOUS_LOOKING
from libs.statistics.proportions import EXACT_TEST
from libs.statistics.sums import MICRO, Sums
from schemas.experiments import (
    Direction,
    Experiment,
    Metric,
    MetricRole,
    Policy,
    Variant,
    VerdictKind,
)
from schemas.policies import Correction, EarlyStop, GuardrailEvidence, Method, Spending
from schemas.results import Comparison
from services.metrics.domain.totals import ExperimentTotals, VariantTotals
from tests.unit.metrics.test_judge import BREACH, EVEN, GOOD, Life, result_of, running, totals

GOAL = GOOD.model_copy(update={"role": MetricRole.GOAL})
BETTER = {"a": (5_000, 1_000), "b": (5_000, 1_150)}


def under(method: Method, metrics: Sequence[Metric] = (GOAL,), **policy: Any) -> Experiment:
    """Return a running experiment whose policy has this method."""
    return running(metrics, policy=Policy.model_validate({"method": method, "ramp": (), **policy}))


def by_sums(sums: Mapping[tuple[str, str], Sums]) -> ExperimentTotals:
    """Return totals of these sums: (variant, metric)."""
    units = {variant: each.units for (variant, _), each in sums.items()}
    found = {key: VariantTotals(count, count, count) for key, count in units.items()}
    return replace(totals({}), variants=found, sums=dict(sums))


def shown(experiment: Experiment, found: ExperimentTotals) -> Comparison:
    """Return the one comparison of a first judgement."""
    comparisons = result_of(Life(experiment).look(found)).comparisons
    assert len(comparisons) == 1
    return comparisons[0]


def test_always_valid_is_the_default_with_its_lift() -> None:
    """Without a word in the policy the sequence is shown, and the lift has Fieller's interval around it."""
    found = shown(running([GOAL]), totals(BETTER))
    assert "confidence sequence" in found.method
    assert found.relative == pytest.approx(0.15)
    assert found.relative_lower is not None
    assert found.relative_upper is not None
    assert 0 < found.relative_lower < 0.15 < found.relative_upper
    assert "Fieller" in found.relative_method
    assert found.note == ""


def test_fixed_horizon_says_until_when_it_means_nothing() -> None:
    """The z-test's numbers, a note before the planned units, and another one from then on."""
    experiment = under(Method.FIXED_HORIZON, planned_units=20_000)
    early = shown(experiment, totals(BETTER))
    assert early.method.startswith("two-proportion z")
    assert early.p_value == pytest.approx(2 * 0.5 * math.erfc(3.6514837 / math.sqrt(2)), rel=0.05)
    assert "means nothing until 20000 units" in early.note
    late = shown(experiment, totals({"a": (10_000, 2_000), "b": (10_000, 2_100)}))
    assert "one look" in late.note
    assert late.planned_units == 20_000
    assert late.relative_method.endswith("one planned look")


@pytest.mark.parametrize("method", [Method.FIXED_HORIZON, Method.GROUP_SEQUENTIAL])
def test_a_planned_method_needs_its_plan(method: Method) -> None:
    """Without planned units the definition is refused, by field."""
    with pytest.raises(ValidationError, match="planned_units"):
        Policy(method=method)


def test_early_stop_needs_looks() -> None:
    """Ending early at any moment is not what the other methods can promise: refused by field."""
    with pytest.raises(ValidationError, match="early_stop"):
        Policy(early_stop=EarlyStop.STOP)


def halves(units: int, rates: tuple[float, float]) -> ExperimentTotals:
    """Return totals of so many units in all, in two variants with these rates."""
    one = units // 2
    return totals({"a": (one, round(one * rates[0])), "b": (one, round(one * rates[1]))})


def test_group_sequential_looks_when_planned_and_not_in_between() -> None:
    """Before the first look a reason; between looks the numbers of the last one; then the next look's."""
    life = Life(under(Method.GROUP_SEQUENTIAL, planned_units=10_000, looks=5))
    found = [
        result_of(life.look(halves(units, (0.2, 0.21)))).comparisons[0]
        for units in (1_998, 2_200, 3_998, 4_000, 10_400)
    ]
    assert not found[0].sufficient
    assert "at 2000 units" in found[0].reason
    assert [each.look for each in found[1:]] == [1, 1, 2, 3]
    assert found[1].estimate == found[2].estimate
    assert (found[1].lower, found[1].p_value) == (found[2].lower, found[2].p_value)
    assert found[1].bound is not None
    assert found[1].bound > 4.4
    assert found[4].bound is not None
    assert found[4].bound == pytest.approx(2.0, abs=0.05)
    assert found[4].crossed is False
    assert "the last look" in found[4].note


def test_group_sequential_stops_looking_once_crossed() -> None:
    """A boundary that was crossed stays crossed, with the numbers of that look."""
    plan: dict[str, Any] = {"planned_units": 10_000, "looks": 5, "spending": Spending.POCOCK}
    life = Life(under(Method.GROUP_SEQUENTIAL, **plan))
    first = result_of(life.look(halves(2_000, (0.2, 0.3)))).comparisons[0]
    later = result_of(life.look(halves(8_000, (0.2, 0.2)))).comparisons[0]
    assert first.crossed is True
    assert (later.look, later.estimate, later.crossed) == (1, first.estimate, True)
    assert first.lower is not None
    assert first.lower > 0
    assert "pocock" in first.method


def test_another_plan_begins_anew() -> None:
    """Looks of a plan that is no more are forgotten."""
    life = Life(under(Method.GROUP_SEQUENTIAL, planned_units=10_000, looks=5))
    life.look(halves(4_000, (0.2, 0.21)))
    life.experiment = under(Method.GROUP_SEQUENTIAL, planned_units=100_000, looks=5)
    assert not result_of(life.look(halves(4_400, (0.2, 0.21)))).comparisons[0].sufficient


def test_bayesian_shows_chance_and_loss_and_its_warning() -> None:
    """Chance to beat control, both losses, a credible interval, no p-value; and what looking does to it."""
    found = shown(under(Method.BAYESIAN), totals(BETTER))
    assert found.p_value is None
    assert found.chance_to_beat_control is not None
    assert found.chance_to_beat_control > 0.999
    assert found.expected_loss is not None
    assert found.expected_loss_of_control is not None
    assert 0 <= found.expected_loss < 1e-4 < found.expected_loss_of_control
    assert found.note == CONTINUOUS_LOOKING
    worse = shown(under(Method.BAYESIAN), totals(BREACH))
    assert worse.chance_to_beat_control is not None
    assert worse.chance_to_beat_control < 0.001


@pytest.mark.parametrize("method", Method)
def test_rollback_rests_on_always_valid_evidence_whatever_is_shown(method: Method) -> None:
    """A breach rolls back under every method, and what would be significant at one look alone never does."""
    experiment = under(method, [GOOD], planned_units=1_000_000)
    breach = Life(experiment).look(totals(BREACH)).verdict
    assert breach is not None
    assert breach.kind is VerdictKind.ROLL_BACK
    assert "confidence sequence" in breach.evidence[0].method
    # z = -2.5: significant at one look (p = 0.012), not at any.
    hint = Life(experiment).look(totals({"a": (1_000, 200), "b": (1_000, 157)})).verdict
    assert hint is not None
    assert hint.kind is VerdictKind.HOLD


def test_margin_evidence_waits_until_the_margin_itself_is_excluded() -> None:
    """Worse by 15 % with harm proved rolls back by default, and not where the margin is to be excluded; worse
    by 40 % does in both."""
    slightly = totals({"a": (20_000, 4_000), "b": (20_000, 3_400)})
    by_harm = running(policy=Policy(ramp=()))
    by_margin = running(policy=Policy(ramp=(), guardrail_evidence=GuardrailEvidence.MARGIN))
    assert Life(by_harm).kinds([slightly]) == [VerdictKind.ROLL_BACK]
    assert Life(by_margin).kinds([slightly]) == [VerdictKind.HOLD]
    assert Life(by_margin).kinds([totals(BREACH)]) == [VerdictKind.ROLL_BACK]


def test_small_counts_of_a_proportion_get_the_exact_test() -> None:
    """With 12 conversions in all the normal sequence is not safe: the exact test rolls back on 12 to 0."""
    errors = Metric(name="good", conversion="error", direction=Direction.DECREASE)
    judgement = Life(running([errors])).look(totals({"a": (400, 0), "b": (400, 12)}))
    found = result_of(judgement).comparisons[0]
    assert EXACT_TEST in found.method
    assert found.relative is None
    assert "not told from 0" in found.relative_reason
    assert judgement.verdict is not None
    assert judgement.verdict.kind is VerdictKind.ROLL_BACK
    assert judgement.verdict.evidence[0].method == EXACT_TEST


def test_after_a_change_of_weights_small_counts_go_back_to_the_sequence() -> None:
    """The exact test rests on the split, which must have been the same all along."""

    def weighted(weight: float) -> Experiment:
        return running([GOAL], variants=(Variant(key="a"), Variant(key="b", weight=weight)))

    few = totals({"a": (400, 3), "b": (400, 5)})
    life = Life(weighted(1))
    before = result_of(life.look(few)).comparisons[0]
    life.experiment = weighted(2)
    after = result_of(life.look(few)).comparisons[0]
    assert EXACT_TEST in before.method
    assert EXACT_TEST not in after.method
    assert after.sufficient


@pytest.mark.parametrize("correction", [Correction.HOLM, Correction.BENJAMINI_HOCHBERG])
def test_goals_are_corrected_together_and_guardrails_never(correction: Correction) -> None:
    """Two goals in two variants are one family of four; the guardrail keeps its p-value and its bite."""
    goals = [Metric(name=name, conversion=name, role=MetricRole.GOAL) for name in ("one", "two")]
    variants = tuple(Variant(key=key) for key in "abc")
    policy = Policy(ramp=(), correction=correction)
    experiment = running([*goals, GOOD], variants=variants, policy=policy)
    rates = {"a": 1_000, "b": 1_100, "c": 1_150}
    sums = {
        (key, name): Sums(5_000, found, found * MICRO, found * MICRO**2)
        for key, found in rates.items()
        for name in ("one", "two", "good")
    }
    found = result_of(Life(experiment).look(by_sums(sums))).comparisons
    corrected = [each for each in found if each.role is MetricRole.GOAL]
    assert len(corrected) == 4
    for each in corrected:
        assert each.p_value is not None
        assert each.adjusted_p_value is not None
        assert each.adjusted_p_value >= each.p_value
        assert "4 questions" in each.family
    assert all(each.adjusted_p_value is None for each in found if each.role is MetricRole.GUARDRAIL)


def test_results_say_nothing_new_where_nothing_is_asked() -> None:
    """By default there is no family, no belief, no look, and no plan in a comparison."""
    found = shown(running([GOAL]), totals(EVEN))
    assert found.family == ""
    assert (found.chance_to_beat_control, found.look, found.planned_units, found.crossed) == (None,) * 4
