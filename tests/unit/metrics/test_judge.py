"""The judge: what it says, when, and how often."""

from collections.abc import Sequence

import pytest

from libs.statistics.sums import MICRO, Sums
from schemas.experiments import (
    Direction,
    Experiment,
    ExperimentState,
    Metric,
    MetricRole,
    Policy,
    RampEvidence,
    RampStage,
    Variant,
    VerdictKind,
)
from schemas.health import AlertState, Severity
from schemas.results import Result
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.leaks import BLIND, Watch
from services.metrics.domain.memory import JudgeMemory, memory_from_json, memory_to_json
from services.metrics.domain.totals import ExperimentTotals, VariantTotals
from services.metrics.handlers.judge import judge
from tests.unit.metrics.events import T0, experiment

GOOD = Metric(name="good", conversion="purchase")
ERRORS = Metric(name="errors", conversion="error", direction=Direction.DECREASE)
HOUR_MS = 3_600_000
STAGES = (
    RampStage(share=0.1, min_duration_ms=HOUR_MS, min_units=1_000, requires=RampEvidence.STABLE),
    RampStage(share=0.5, min_duration_ms=HOUR_MS, min_units=1_000, requires=RampEvidence.POSITIVE),
)
POLICY = Policy(ramp=STAGES)


def totals(
    rates: dict[str, tuple[int, int]],
    *,
    metric: str = "good",
    at_ms: int = 0,
    several: int = 0,
) -> ExperimentTotals:
    """Return totals of one proportion: variant to (units, converted units)."""
    return ExperimentTotals(
        variants={
            key: VariantTotals(units, units, converted, T0 + at_ms if units else 0)
            for key, (units, converted) in rates.items()
        },
        sums={
            (key, metric): Sums(units, converted, converted * MICRO, converted * MICRO**2)
            for key, (units, converted) in rates.items()
        },
        multi_variant_units=several,
        latest_ms=T0 + at_ms,
        offsets={"exposures-0": 7},
    )


def result_of(judgement: Judgement) -> Result:
    """Return the result, which there must be."""
    assert judgement.result is not None
    return judgement.result


class Life:
    """An experiment judged again and again; memory goes through its JSON, as in the database."""

    def __init__(self, subject: Experiment) -> None:
        self.experiment = subject
        self.memory = JudgeMemory()

    def look(
        self, found: ExperimentTotals, *, now_ms: int = 10 * HOUR_MS, watch: Watch = BLIND, fresh: bool = True
    ) -> Judgement:
        """Judge, and remember."""
        judgement = judge(Case(self.experiment, found, self.memory, fresh), T0 + now_ms, watch=watch)
        self.memory = memory_from_json(memory_to_json(judgement.memory))
        return judgement

    def kinds(self, looks: Sequence[ExperimentTotals]) -> list[VerdictKind]:
        """Return the verdicts that come out of several looks."""
        found = [self.look(each).verdict for each in looks]
        return [each.kind for each in found if each is not None]


def running(metrics: Sequence[Metric] = (GOOD,), **changes: object) -> Experiment:
    """Return a running experiment with two stages."""
    base = experiment(metrics=metrics, policy=POLICY)
    return base.model_copy(update=changes)


BREACH = {"a": (5_000, 1_000), "b": (5_000, 600)}
EVEN = {"a": (5_000, 1_000), "b": (5_000, 1_010)}


def test_a_breach_rolls_back_once_with_its_evidence() -> None:
    """One verdict with the numbers in it, however often one looks again; the result shows them too."""
    life = Life(running())
    first = life.look(totals(BREACH))
    assert first.verdict is not None
    assert (first.verdict.kind, first.verdict.variant) == (VerdictKind.ROLL_BACK, "b")
    evidence = first.verdict.evidence[0]
    assert evidence.relative == pytest.approx(-0.4)
    assert evidence.upper < 0
    assert first.verdict.offsets == result_of(first).offsets == {"exposures-0": 7}
    assert life.kinds([totals(BREACH), totals(EVEN), totals(BREACH)]) == [VerdictKind.HOLD]


def test_the_same_case_gives_the_same_verdict_id() -> None:
    """Deciding twice is deciding once."""
    case = Case(running(), totals(BREACH), JudgeMemory())
    one, two = judge(case, T0), judge(case, T0 + 5)
    assert one.verdict is not None
    assert two.verdict is not None
    assert one.verdict.verdict_id == two.verdict.verdict_id
    assert [each.alert_id for each in one.alerts] == [each.alert_id for each in two.alerts]


def test_a_goal_never_rolls_back() -> None:
    """Only guardrails act."""
    goal = GOOD.model_copy(update={"role": MetricRole.GOAL})
    life = Life(running([goal]))
    assert life.kinds([totals(BREACH)]) == [VerdictKind.HOLD]


def test_automatic_rollback_can_be_off() -> None:
    """Then people are alerted, and the advice is to hold."""
    policy = POLICY.model_copy(update={"automatic_rollback": False})
    judgement = Life(running(policy=policy)).look(totals(BREACH))
    assert judgement.verdict is not None
    assert judgement.verdict.kind is VerdictKind.HOLD
    assert [each.cause for each in judgement.alerts] == ["guardrail"]


def test_below_the_burn_in_there_is_no_evidence_and_the_reason_is_given() -> None:
    """No numbers, no verdict but hold, and a sentence."""
    judgement = Life(running()).look(totals({"a": (99, 50), "b": (99, 0)}, at_ms=2 * HOUR_MS))
    comparison = result_of(judgement).comparisons[0]
    assert not comparison.sufficient
    assert comparison.estimate is None
    assert "99 units" in comparison.reason
    assert judgement.verdict is not None
    assert judgement.verdict.kind is VerdictKind.HOLD


def test_a_ramp_advances_stage_by_stage_to_promotion() -> None:
    """Time and units of the stage itself are asked for; each piece of advice is given once."""
    life = Life(running())
    early = totals(EVEN, at_ms=HOUR_MS - 1)
    late = totals(EVEN, at_ms=HOUR_MS)
    assert life.kinds([early, late, late]) == [VerdictKind.HOLD, VerdictKind.ADVANCE]
    life.experiment = running(revision=2, stage=1, stage_started_at_ms=T0 + HOUR_MS)
    same_units = totals({"a": (5_999, 1_200), "b": (5_999, 1_200)}, at_ms=3 * HOUR_MS)
    assert life.kinds([late, same_units]) == [VerdictKind.HOLD]
    enough = totals({"a": (60_000, 12_000), "b": (60_000, 12_000)}, at_ms=3 * HOUR_MS)
    assert life.kinds([enough]) == [VerdictKind.PROMOTE]
    life.experiment = running(revision=3, stage=1, state=ExperimentState.PROMOTED)
    assert life.kinds([enough, totals(BREACH, at_ms=4 * HOUR_MS)]) == []


def test_a_stage_is_timed_by_events_and_not_beyond_now() -> None:
    """An event from the future does not end a stage early."""
    life = Life(running())
    judgement = life.look(totals(EVEN, at_ms=20 * HOUR_MS), now_ms=HOUR_MS // 2)
    assert judgement.verdict is not None
    assert judgement.verdict.kind is VerdictKind.HOLD


def test_positive_evidence_needs_harm_beyond_the_margin_excluded() -> None:
    """Equal rates at few units are not positive; at many they are."""
    last = running(stage=1)
    few = totals({"a": (1_000, 100), "b": (1_000, 100)}, at_ms=HOUR_MS)
    many = totals({"a": (100_000, 10_000), "b": (100_000, 10_000)}, at_ms=HOUR_MS)
    life = Life(last)
    life.memory = JudgeMemory()
    life.experiment = running(stage=0)
    life.look(totals({"a": (0, 0), "b": (0, 0)}))
    life.experiment = last
    life.look(totals({"a": (0, 0), "b": (0, 0)}))
    assert life.kinds([few, many]) == [VerdictKind.PROMOTE]


def test_stable_evidence_fails_on_proved_harm_within_the_margin() -> None:
    """5 % worse for certain is not stable, nor a breach."""
    found = totals({"a": (400_000, 200_000), "b": (400_000, 190_000)}, at_ms=HOUR_MS)
    judgement = Life(running()).look(found)
    assert judgement.verdict is not None
    assert judgement.verdict.kind is VerdictKind.HOLD
    assert "evidence of harm" in judgement.verdict.reason


def test_without_a_guardrail_nothing_advances() -> None:
    """A ramp with nothing to protect it waits for a person."""
    judgement = Life(running([])).look(totals(EVEN, at_ms=2 * HOUR_MS))
    assert judgement.verdict is not None
    assert "no guardrail" in judgement.verdict.reason


def test_more_errors_roll_back_and_fewer_do_not() -> None:
    """The direction of the metric decides which way is harm."""
    assert Life(running([ERRORS])).kinds([totals(BREACH, metric="errors")]) == [VerdictKind.HOLD]
    worse = totals({"a": BREACH["b"], "b": BREACH["a"]}, metric="errors")
    assert Life(running([ERRORS])).kinds([worse]) == [VerdictKind.ROLL_BACK]


def test_a_guardrail_alert_is_one_episode() -> None:
    """Opened once, kept while harm is proved, resolved when the experiment ends; a new one has a new id."""
    life = Life(running())
    opened = life.look(totals(BREACH)).alerts
    assert [(each.state, each.severity) for each in opened] == [(AlertState.OPENED, Severity.CRITICAL)]
    assert life.look(totals(BREACH)).alerts == ()
    resolved = life.look(totals(EVEN)).alerts
    assert [(each.alert_id, each.state) for each in resolved] == [(opened[0].alert_id, AlertState.RESOLVED)]
    again = life.look(totals(BREACH)).alerts
    assert again[0].alert_id != opened[0].alert_id
    life.experiment = running(revision=2, state=ExperimentState.ROLLED_BACK)
    ended = life.look(totals(BREACH))
    assert [each.state for each in ended.alerts] == [AlertState.RESOLVED]
    assert ended.verdict is None
    assert result_of(ended).comparisons[0].sufficient


def test_a_wrong_split_is_an_alert() -> None:
    """60 to 40 where halves were asked for."""
    judgement = Life(running()).look(totals({"a": (6_000, 600), "b": (4_000, 400)}))
    found = result_of(judgement).sample_ratio
    assert found is not None
    assert found.mismatch
    assert [(each.cause, each.severity) for each in judgement.alerts] == [("sample-ratio", Severity.HIGH)]


def test_weights_that_change_begin_a_new_period() -> None:
    """9,000 units at 9 to 1, then 2,000 at halves: no mismatch, though the whole looks like one."""

    def weighted(first: float, second: float, revision: int) -> Experiment:
        variants = (Variant(key="a", weight=first), Variant(key="b", weight=second))
        return running(variants=variants, revision=revision)

    life = Life(weighted(9, 1, 1))
    life.look(totals({"a": (8_100, 800), "b": (900, 90)}))
    life.experiment = weighted(1, 1, 2)
    life.look(totals({"a": (8_100, 800), "b": (900, 90)}))
    life.look(totals({"a": (8_100, 800), "b": (900, 90)}, at_ms=60_000))
    judgement = life.look(totals({"a": (9_100, 900), "b": (1_900, 190)}, at_ms=90_000))
    found = result_of(judgement).sample_ratio
    assert found is not None
    assert not found.mismatch
    assert found.observed == {"a": 1_000, "b": 1_000}


@pytest.mark.parametrize("stranger", ["b", "nobody-defined-this"])
def test_a_unit_where_none_may_be_is_a_leak_at_once(stranger: str) -> None:
    """One unit in an arm of weight 0, or in an arm that does not exist, is a critical alert."""
    variants = (Variant(key="a"), Variant(key="b", weight=0), Variant(key="c"))
    judgement = Life(running(variants=variants)).look(totals({"a": (5, 1), "c": (5, 1), stranger: (1, 0)}))
    assert [(each.cause, each.severity) for each in judgement.alerts] == [("leak", Severity.CRITICAL)]
    assert stranger in judgement.alerts[0].detail
    assert stranger in [each.variant for each in result_of(judgement).counts]


def test_units_in_several_variants_are_an_alert_above_one_percent() -> None:
    """Opened above 1 %, kept between, resolved below half of it."""
    life = Life(running())
    calm = life.look(totals(EVEN, several=100)).alerts
    opened = life.look(totals(EVEN, several=102)).alerts
    kept = life.look(totals(EVEN, several=80)).alerts
    resolved = life.look(totals(EVEN, several=40)).alerts
    assert [[each.state for each in alerts] for alerts in (calm, opened, kept, resolved)] == [
        [],
        [AlertState.OPENED],
        [],
        [AlertState.RESOLVED],
    ]


def test_p_values_only_fall() -> None:
    """The always-valid p-value is a running minimum, and never 0."""
    life = Life(running())
    values = [result_of(life.look(totals(each))).comparisons[0].p_value for each in (EVEN, BREACH, EVEN)]
    assert values[0] == 1.0
    assert values[1] is not None
    assert 0 < values[1] < 1e-6
    assert values[2] == values[1]


def test_an_experiment_without_units_has_a_result_without_numbers() -> None:
    """Nothing divides by the units that are not there."""
    judgement = Life(running()).look(totals({}))
    assert [(each.units, each.exposures) for each in result_of(judgement).counts] == [(0, 0), (0, 0)]
    assert all(each.mean is None for each in result_of(judgement).summaries)
    assert judgement.alerts == ()


def test_fifty_variants_promote_the_best() -> None:
    """Of many variants that may be promoted the one with the best estimate is named."""
    keys = ["a", *(f"v{number}" for number in range(49))]
    variants = tuple(Variant(key=key) for key in keys)
    found = totals({key: (100_000, 50_000 + 10 * n) for n, key in enumerate(keys)}, at_ms=HOUR_MS)
    stages = (RampStage(share=1.0, min_duration_ms=0, min_units=1),)
    judgement = Life(running(variants=variants, policy=Policy(ramp=stages))).look(found)
    assert judgement.verdict is not None
    assert (judgement.verdict.kind, judgement.verdict.variant) == (VerdictKind.PROMOTE, "v48")
