"""The split of units: by periods of weights and ramp stages, and units where none may be."""

from typing import Any

from schemas.experiments import (
    Experiment,
    Variant,
)
from schemas.health import AlertState
from services.metrics.domain.memory import memory_from_json
from tests.unit.metrics.events import T0
from tests.unit.metrics.test_judge import Life, result_of, running, totals
from tests.unit.metrics.test_judge_policies import CALM, bandit


def test_every_ramp_stage_is_a_period_of_the_split() -> None:
    """A stage begins a period, and the evidence of those before counts on: twice a hint is a mismatch."""
    life = Life(running(stage=0))
    first = {"a": (1_070, 100), "b": (930, 90)}
    twice = {"a": (2_140, 200), "b": (1_860, 180)}
    hint = result_of(life.look(totals(first))).sample_ratio
    life.experiment = running(stage=1, revision=2)
    fresh = result_of(life.look(totals(first))).sample_ratio
    both_periods = result_of(life.look(totals(twice))).sample_ratio
    assert hint is not None
    assert fresh is not None
    assert both_periods is not None
    assert (hint.periods, fresh.periods, both_periods.periods) == (1, 2, 2)
    assert fresh.observed == {"a": 0, "b": 0}
    assert both_periods.observed == {"a": 1_070, "b": 930}
    assert both_periods.p_value < hint.p_value == fresh.p_value


def test_units_by_the_old_weights_just_after_a_change_are_no_mismatch() -> None:
    """Clients follow within a minute: 500 units at halves after a change to 99 to 1 are left out; what comes
    after that minute, of event time and not beyond now, counts."""
    experiment = bandit().model_copy(update={"variants": (Variant(key="a"), Variant(key="b"))})
    after = tuple(Variant(key=key, weight=weight) for key, weight in (("a", 0.99), ("b", 0.01)))
    life = Life(experiment)
    life.look(totals({"a": (500, 50), "b": (500, 50)}, metric="goal"), now_ms=1_000)
    life.experiment = experiment.model_copy(
        update={"variants": after, "revision": 2, "updated_at_ms": T0 + 10_000}
    )
    stale = totals({"a": (750, 75), "b": (750, 75)}, metric="goal", at_ms=90_000)
    early = life.look(stale, now_ms=69_999)
    found = result_of(early).sample_ratio
    assert found is not None
    assert (found.periods, found.observed) == (2, {"a": 0, "b": 0})
    assert early.alerts == ()
    life.look(stale, now_ms=70_000)
    wrong = totals({"a": (1_050, 100), "b": (1_050, 100)}, metric="goal", at_ms=90_000)
    assert [each.cause for each in life.look(wrong, now_ms=90_000).alerts] == ["sample-ratio"]


def test_a_memory_of_before_these_policies_is_read() -> None:
    """What an older judge wrote is read, and judging goes on from it."""
    life = Life(running())
    life.memory = memory_from_json(
        '{"revision":1,"advice":"hold","ratio":{"weights":{"a":1.0,"b":1.0},"units_before":{},"log_p":-20.0}}'
    )
    found = result_of(life.look(totals(CALM))).sample_ratio
    assert found is not None
    assert (found.periods, found.p_value < 1e-6) == (1, True)


def test_a_leak_stays_while_the_weights_stay_though_a_stage_begins() -> None:
    """A new stage is no excuse for units in an arm of weight 0: the alert goes on until weights change."""

    def with_weight(weight: float, **changes: Any) -> Experiment:
        return running(
            variants=(Variant(key="a"), Variant(key="b", weight=weight), Variant(key="c")), **changes
        )

    life = Life(with_weight(0))
    leaked = totals({"a": (50, 1), "b": (1, 0), "c": (50, 1)})
    assert [each.cause for each in life.look(leaked).alerts] == ["leak"]
    life.experiment = with_weight(0, stage=1, revision=2)
    assert life.look(leaked).alerts == ()
    life.experiment = with_weight(1, stage=1, revision=3)
    assert [each.state for each in life.look(leaked).alerts] == [AlertState.RESOLVED]
