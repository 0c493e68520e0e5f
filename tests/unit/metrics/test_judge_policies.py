"""Verdict policies: approval, early stop, bandits, factors."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from libs.statistics.sums import MICRO, Sums
from schemas.experiments import (
    Experiment,
    ExperimentKind,
    ExperimentState,
    Metric,
    MetricKind,
    MetricRole,
    Policy,
    Variant,
    VerdictKind,
)
from schemas.policies import Approval, Bandit, BanditAlgorithm, Correction, EarlyStop, Method
from services.metrics.domain.totals import ExperimentTotals
from tests.unit.metrics.events import T0
from tests.unit.metrics.test_judge import GOOD, HOUR_MS, POLICY, Life, result_of, running, totals

GOAL = Metric(name="goal", conversion="purchase", role=MetricRole.GOAL)
GUARD = GOOD
LATE_MS = 73 * HOUR_MS
STRONG = {"a": (20_000, 4_000), "b": (20_000, 4_600)}


def both(goal: Mapping[str, tuple[int, int]], guard: Mapping[str, tuple[int, int]]) -> ExperimentTotals:
    """Return totals of a goal and a guardrail: variant to (units, converted units)."""
    found = totals(dict(goal), metric="goal", at_ms=LATE_MS)
    return replace(found, sums={**found.sums, **totals(dict(guard)).sums})


CALM = {"a": (20_000, 4_000), "b": (20_000, 4_020)}


def approving(**changes: Any) -> Life:
    """Return an experiment with a goal, a guardrail and an approval."""
    policy = Policy.model_validate({"ramp": (), "approval": Approval(), **changes})
    return Life(running([GOAL, GUARD], policy=policy))


def look(life: Life, found: ExperimentTotals, now_ms: int = LATE_MS) -> tuple[VerdictKind, str]:
    """Return kind and reason of the verdict, which there must be."""
    verdict = life.look(found, now_ms=now_ms).verdict
    assert verdict is not None
    return verdict.kind, verdict.reason


def test_approval_promotes_once_with_its_evidence() -> None:
    """15 % better, proved, after 72 h, on 20,000 units a variant, with a calm guardrail: promote, once."""
    life = approving()
    verdict = life.look(both(STRONG, CALM), now_ms=LATE_MS).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.variant) == (VerdictKind.PROMOTE, "b")
    assert "15.00%" in verdict.reason
    assert [each.metric for each in verdict.evidence] == ["goal", "good"]
    assert verdict.evidence[0].lower > 0
    assert life.look(both(STRONG, CALM), now_ms=LATE_MS).verdict is None


def test_approval_waits_for_time_units_lift_proof_and_guardrails() -> None:
    """Each that is missing is named."""
    assert "until approval" in look(approving(), both(STRONG, CALM), 71 * HOUR_MS)[1]
    few = {"a": (999, 100), "b": (999, 300)}
    assert "999 of at least 1000 units" in look(approving(), both(few, few))[1]
    small = {"a": (2_000_000, 400_000), "b": (2_000_000, 406_000)}
    assert "better by 1.50%" in look(approving(), both(small, CALM))[1]
    weak = {"a": (2_000, 400), "b": (2_000, 430)}
    assert "not yet proved" in look(approving(), both(weak, CALM))[1]
    harmed = {"a": (20_000, 4_000), "b": (20_000, 3_680)}
    assert "evidence of harm" in look(approving(), both(STRONG, harmed))[1]
    unknown = {"a": (20_000, 0), "b": (20_000, 0)}
    assert "no evidence" in look(approving(), both(STRONG, unknown))[1]
    from_nothing = {"a": (20_000, 0), "b": (20_000, 4_000)}
    assert "no lift to approve" in look(approving(), both(from_nothing, CALM))[1]
    no_goal = Life(running([GUARD], policy=Policy(ramp=(), approval=Approval())))
    assert "there is none" in look(no_goal, totals(CALM, at_ms=LATE_MS))[1]


def test_approval_is_harder_with_a_correction() -> None:
    """A p-value between alpha / 10 and alpha is proof alone, and none among ten goals under Holm."""
    names = ["goal", *(f"other{number}" for number in range(9))]
    metrics = [GOAL.model_copy(update={"name": name}) for name in names]
    even = {"a": (20_000, 4_000), "b": (20_000, 4_000)}
    found = both({"a": (20_000, 4_000), "b": (20_000, 4_275)}, CALM)
    for name in names[1:]:
        found = replace(found, sums={**found.sums, **totals(even, metric=name).sums})
    for correction, kind in ((Correction.NONE, VerdictKind.PROMOTE), (Correction.HOLM, VerdictKind.HOLD)):
        policy = Policy(ramp=(), approval=Approval(), correction=correction)
        assert look(Life(running([*metrics, GUARD], policy=policy)), found)[0] is kind


def test_with_an_approval_the_ramp_does_not_promote_by_itself() -> None:
    """The last stage is done and calm, but nothing is better: hold, where the ramp alone would promote."""
    calm = replace(both(CALM, CALM), latest_ms=T0 + LATE_MS)
    plain = Life(running([GOAL, GUARD], stage=1))
    asked = Life(running([GOAL, GUARD], stage=1, policy=POLICY.model_copy(update={"approval": Approval()})))
    for life in (plain, asked):
        life.experiment = life.experiment.model_copy(update={"stage": 0})
        life.look(both({"a": (0, 0), "b": (0, 0)}, {"a": (0, 0), "b": (0, 0)}))
        life.experiment = life.experiment.model_copy(update={"stage": 1})
        life.look(both({"a": (0, 0), "b": (0, 0)}, {"a": (0, 0), "b": (0, 0)}))
    many = {"a": (200_000, 40_000), "b": (200_000, 40_000)}
    calm = replace(both(many, many), latest_ms=T0 + LATE_MS)
    assert look(plain, calm)[0] is VerdictKind.PROMOTE
    assert asked.look(calm, now_ms=LATE_MS).verdict is None


def planned(early_stop: EarlyStop) -> Life:
    """Return a group-sequential experiment with a goal."""
    policy = Policy(method=Method.GROUP_SEQUENTIAL, planned_units=10_000, early_stop=early_stop, ramp=())
    return Life(running([GOAL], policy=policy))


BETTER = totals({"a": (2_000, 400), "b": (2_000, 560)}, metric="goal")
WORSE = totals({"a": (2_000, 400), "b": (2_000, 260)}, metric="goal")


@pytest.mark.parametrize(
    ("early_stop", "found", "kind"),
    [
        (EarlyStop.NEVER, BETTER, VerdictKind.HOLD),
        (EarlyStop.STOP, BETTER, VerdictKind.STOP),
        (EarlyStop.PROMOTE, BETTER, VerdictKind.PROMOTE),
        (EarlyStop.STOP, WORSE, VerdictKind.STOP),
        (EarlyStop.PROMOTE, WORSE, VerdictKind.STOP),
    ],
)
def test_a_crossed_boundary_stops_or_promotes(
    early_stop: EarlyStop, found: ExperimentTotals, kind: VerdictKind
) -> None:
    """As the policy says; a worse variant is never promoted; advised once."""
    life = planned(early_stop)
    first, reason = look(life, found)
    assert first is kind
    assert kind is VerdictKind.HOLD or "boundary is crossed" in reason
    assert life.look(found).verdict is None


def test_no_boundary_no_stop() -> None:
    """A difference that is not beyond the first look's bound stops nothing."""
    found = totals({"a": (2_000, 400), "b": (2_000, 460)}, metric="goal")
    assert look(planned(EarlyStop.STOP), found)[0] is VerdictKind.HOLD


def test_a_worse_variant_alone_does_not_end_the_others() -> None:
    """Of two treatments one is worse beyond its bound: the experiment goes on until both are, or one wins."""
    life = planned(EarlyStop.STOP)
    variants = tuple(Variant(key=key) for key in "abc")
    life.experiment = life.experiment.model_copy(update={"variants": variants})
    one = totals({"a": (2_000, 400), "b": (2_000, 260), "c": (2_000, 410)}, metric="goal")
    assert look(life, one)[0] is VerdictKind.HOLD
    both_worse = totals({"a": (4_000, 800), "b": (4_000, 520), "c": (4_000, 500)}, metric="goal")
    assert look(life, both_worse)[0] is VerdictKind.STOP


def bandit(algorithm: BanditAlgorithm = BanditAlgorithm.THOMPSON, **changes: Any) -> Experiment:
    """Return a bandit with three variants and one goal."""
    policy = Policy(bandit=Bandit(algorithm=algorithm))
    variants = tuple(Variant(key=key) for key in "abc")
    return running([GOAL], kind=ExperimentKind.BANDIT, variants=variants, policy=policy, **changes)


EARNED = totals({"a": (1_000, 100), "b": (1_000, 150), "c": (1_000, 90)}, metric="goal")


@pytest.mark.parametrize("algorithm", BanditAlgorithm)
def test_a_bandit_reallocates_once_an_interval(algorithm: BanditAlgorithm) -> None:
    """Weights sum to 1, none below the floor, the best has most; the next ones an hour later."""
    life = Life(bandit(algorithm))
    verdict = life.look(EARNED, now_ms=HOUR_MS).verdict
    assert verdict is not None
    assert (verdict.kind, verdict.variant) == (VerdictKind.REALLOCATE, "b")
    assert sum(verdict.weights.values()) == pytest.approx(1.0)
    assert min(verdict.weights.values()) >= 0.01
    assert max(verdict.weights, key=lambda key: verdict.weights[key]) == "b"
    weights = {key: Variant(key=key, weight=share) for key, share in verdict.weights.items()}
    life.experiment = bandit(algorithm, revision=2).model_copy(
        update={"variants": tuple(weights[each.key] for each in life.experiment.variants)}
    )
    turned = totals({"a": (1_000, 300), "b": (1_000, 150), "c": (1_000, 90)}, metric="goal")
    early = life.look(turned, now_ms=2 * HOUR_MS - 1).verdict
    assert early is not None
    assert early.kind is VerdictKind.HOLD
    late = life.look(turned, now_ms=2 * HOUR_MS).verdict
    assert late is not None
    assert (late.kind, late.variant) == (VerdictKind.REALLOCATE, "a")
    assert late.verdict_id != verdict.verdict_id


def test_a_bandits_verdict_is_the_same_twice_and_repeated_when_it_was_not_followed() -> None:
    """Deciding twice is deciding once; advice that nobody took is given again after an interval."""
    life = Life(bandit())
    other = Life(bandit())
    one, two = (each.look(EARNED, now_ms=HOUR_MS).verdict for each in (life, other))
    assert one is not None
    assert two is not None
    assert one.verdict_id == two.verdict_id
    again = life.look(EARNED, now_ms=2 * HOUR_MS).verdict
    assert again is not None
    assert again.kind is VerdictKind.REALLOCATE
    assert again.verdict_id != one.verdict_id


def test_a_bandit_holds_before_its_interval_when_paused_and_where_nothing_moves() -> None:
    """Each with its reason; and its comparisons say that raw means are biased."""
    judgement = Life(bandit()).look(EARNED, now_ms=HOUR_MS - 1)
    assert judgement.verdict is not None
    assert "until the weights may change" in judgement.verdict.reason
    assert "inverse propensity" in result_of(judgement).comparisons[0].note
    assert "paused" in look(Life(bandit(state=ExperimentState.PAUSED)), EARNED, HOUR_MS)[1]
    even = totals({"a": (0, 0), "b": (0, 0), "c": (0, 0)}, metric="goal")
    assert "as they should be" in look(Life(bandit()), even, HOUR_MS)[1]


def test_a_bandit_still_rolls_back() -> None:
    """A breached guardrail comes before any weights."""
    experiment = bandit().model_copy(update={"metrics": (GOAL, GUARD)})
    harm = totals({"a": (5_000, 1_000), "b": (5_000, 500), "c": (5_000, 1_000)})
    assert look(Life(experiment), harm, HOUR_MS)[0] is VerdictKind.ROLL_BACK


CELLS = {
    "a": {"color": "red", "size": "small"},
    "b": {"color": "red", "size": "large"},
    "c": {"color": "blue", "size": "small"},
    "d": {"color": "blue", "size": "large"},
}


def factorial(metric: Metric = GOAL) -> Experiment:
    """Return a 2 x 2 experiment."""
    variants = tuple(Variant(key=key, levels=levels) for key, levels in CELLS.items())
    return running([metric], kind=ExperimentKind.MULTIVARIATE, variants=variants)


def test_factors_have_main_effects_and_an_interaction() -> None:
    """Cell rates 10, 12, 20 and 26 %: blue is worth +6 points around the mean, large +2, both together +1."""
    rates = {"a": 1_000, "b": 1_200, "c": 2_000, "d": 2_600}
    judgement = Life(factorial()).look(totals({k: (10_000, v) for k, v in rates.items()}, metric="goal"))
    found = {tuple(sorted(each.levels.items())): each for each in result_of(judgement).effects}
    assert len(found) == 2 + 2 + 4
    blue, large = found[(("color", "blue"),)], found[(("size", "large"),)]
    together = found[(("color", "blue"), ("size", "large"))]
    assert blue.estimate == pytest.approx(0.06)
    assert large.estimate == pytest.approx(0.02)
    assert together.estimate == pytest.approx(0.01)
    assert blue.lower > 0
    assert blue.p_value < 1e-6
    assert all(each.lower < each.estimate < each.upper for each in found.values())


@pytest.mark.parametrize("rates", [{}, {"a": (500, 50), "b": (500, 50), "c": (500, 50), "d": (99, 9)}])
def test_effects_that_cannot_be_told_have_a_reason(rates: dict[str, tuple[int, int]]) -> None:
    """Without units, or with a cell below the burn-in, no effect is published, and why."""
    result = result_of(Life(factorial()).look(totals(rates, metric="goal")))
    assert result.effects == ()
    assert "evidence starts at 100" in result.missing_effects[0].reason


def test_ratios_have_no_effects_and_a_reason() -> None:
    """Ratios do not add up over cells."""
    metric = Metric(name="goal", conversion="click", kind=MetricKind.RATIO, denominator="view")
    result = result_of(Life(factorial(metric)).look(totals({}, metric="goal")))
    assert "ratio" in result.missing_effects[0].reason


def test_means_are_earned_too() -> None:
    """A bandit whose reward is a mean that is better when lower gives most to the lowest."""
    cost = Metric.model_validate(
        GOAL.model_dump() | {"kind": MetricKind.MEAN, "direction": "decrease"}, strict=False
    )
    experiment = bandit().model_copy(update={"metrics": (cost,)})
    sums = {
        (key, "goal"): Sums(1_000, 1_000, total * MICRO, 2 * total * total * MICRO**2 // 1_000)
        for key, total in (("a", 3_000), ("b", 2_000), ("c", 2_500))
    }
    verdict = Life(experiment).look(replace(EARNED, sums=sums), now_ms=HOUR_MS).verdict
    assert verdict is not None
    assert verdict.variant == "b"
