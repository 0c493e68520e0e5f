"""More or less coverage by hand: who is moved, who is asked, and what the history says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import NotFound, Refused
from schemas.experiments import Experiment, ExperimentKind, ExperimentState, Metric, Policy, Variant
from schemas.policies import Bandit
from services.assignment.domain.change import CoverageTarget, Order
from services.assignment.domain.coverage import ExposedUnits, lost_share
from services.assignment.domain.rule_set import rule_set
from services.assignment.handlers.advance import advance
from services.assignment.handlers.change_coverage import change_coverage
from services.assignment.handlers.create import create
from services.assignment.handlers.pause import pause
from services.assignment.handlers.reallocate import reallocate
from services.assignment.handlers.stop import stop
from services.assignment.ports import Desk
from tests.unit.assignment.make import definition, desk, order
from trimtab.evaluation import evaluate
from trimtab.rules import parse

UNITS = tuple(f"user-{number}" for number in range(2_000))
TO_CONTROL, KEEP = ExposedUnits.TO_CONTROL, ExposedUnits.KEEP
PLAIN: dict[str, Any] = {"policy": Policy(ramp=()), "coverage": 0.5}
BANDIT: dict[str, Any] = {
    "kind": ExperimentKind.BANDIT,
    "policy": Policy(bandit=Bandit()),
    "metrics": (Metric(name="bought", conversion="purchase"),),
}


def to(experiment_id: str = "checkout", **target: Any) -> Order:
    """Return an order for another coverage."""
    return order(experiment_id, target=CoverageTarget(**target))


async def running(**fields: Any) -> tuple[Desk, Experiment]:
    """Return a desk with one experiment that runs."""
    place = desk()
    return place, await create(place, definition(**fields), by="ada", start=True)


async def variants(place: Desk) -> dict[str, str | None]:
    """Return the variant in which each unit takes part, None where it does not."""
    rules = parse(rule_set(await place.store.snapshot()))
    found = {unit: evaluate(rules, "checkout", unit) for unit in UNITS}
    return {unit: each.variant if each.in_experiment else None for unit, each in found.items()}


async def test_more_coverage_moves_nobody() -> None:
    """Raised by hand, more units take part, and those that did keep their variant; nothing has to be said."""
    place, _ = await running(**PLAIN)
    before = await variants(place)
    after = await change_coverage(place, to(coverage=0.9))
    assert (after.coverage, after.revision, after.remembers_since) == (0.9, 3, 1)
    now = await variants(place)
    assert all(now[unit] == key for unit, key in before.items() if key)
    assert sum(map(bool, now.values())) > sum(map(bool, before.values()))


async def test_a_ramp_goes_back_to_an_earlier_stage() -> None:
    """Back at an earlier stage its coverage holds, its time begins anew, and whoever stays is not moved."""
    place, _ = await running()
    await advance(place, order())
    await advance(place, order())
    before = await variants(place)
    place.clock.advance(5_000)  # type: ignore[attr-defined]
    after = await change_coverage(place, to(stage=0, exposed_units=TO_CONTROL))
    assert after.stage == 0
    assert after.coverage == pytest.approx(0.2)
    assert after.stage_started_at_ms == place.clock.now_ms()
    now = await variants(place)
    assert all(key in (before[unit], None) for unit, key in now.items())
    assert {key for key in now.values() if key} == {"control", "treatment"}
    ahead = await advance(place, order())
    assert ahead.stage == 1


@pytest.mark.parametrize("wanted", [None, KEEP])
async def test_less_coverage_needs_a_word_on_exposed_units(wanted: ExposedUnits | None) -> None:
    """Without a word, or asked to keep units that are not remembered, it is refused and says what to say."""
    place, before = await running(**PLAIN)
    with pytest.raises(Refused) as refusal:
        await change_coverage(place, to(coverage=0.2, exposed_units=wanted))
    assert refusal.value.field == "exposed_units"
    assert '"to_control"' in refusal.value.next_step
    if wanted is None:
        assert "15.00% of all units" in refusal.value.message
    assert await place.store.find("checkout") == before


@pytest.mark.parametrize("fields", [{"sticky": True, **PLAIN}, BANDIT])
@pytest.mark.parametrize(("wanted", "kept"), [(KEEP, True), (TO_CONTROL, False)])
async def test_remembered_units_keep_their_variant_or_lose_it(
    fields: dict[str, Any], wanted: ExposedUnits, kept: bool
) -> None:
    """Where units are remembered they keep their variant outside the coverage, or are forgotten, as asked."""
    place, before = await running(**fields)
    given_then = await variants(place)
    after = await change_coverage(place, to(coverage=0.1, exposed_units=wanted))
    assert after.remembers_since == (1 if kept else after.revision)
    rules = parse(rule_set(await place.store.snapshot()))
    for unit, key in given_then.items():
        memory = None if key is None else (key, before.revision)
        now = evaluate(rules, "checkout", unit, recall=lambda _, __, memory=memory: memory)  # type: ignore[misc]
        if key and kept:
            assert (now.variant, now.in_experiment) == (key, True)
        elif not now.in_experiment:
            assert now.variant == "control"
    assert lost_share(before, after) == pytest.approx(0 if kept else (before.coverage - 0.1) / 2)


@pytest.mark.parametrize(
    ("fields", "target", "field"),
    [
        ({}, {"coverage": 0.1, "exposed_units": TO_CONTROL}, "stage"),
        ({}, {"stage": 3}, "stage"),
        ({}, {}, "stage"),
        ({}, {"stage": 0}, "stage"),
        (PLAIN, {"stage": 0}, "coverage"),
        (PLAIN, {"coverage": 0.5}, "coverage"),
        (BANDIT, {"stage": 1}, "coverage"),
    ],
)
async def test_what_does_not_fit_is_refused(
    fields: dict[str, Any], target: dict[str, Any], field: str
) -> None:
    """A ramp sets the coverage by its stages, without one a number does; what it is already is refused."""
    place, before = await running(**fields)
    with pytest.raises(Refused) as refusal:
        await change_coverage(place, to(**target))
    assert refusal.value.field == field
    assert await place.store.find("checkout") == before


async def test_only_what_is_live_has_a_coverage_to_change() -> None:
    """While paused it may be changed, for when it is resumed; unstarted, ended or unknown it may not."""
    place, _ = await running()
    await create(place, definition("draft"), by="ada")
    await pause(place, order())
    assert (await change_coverage(place, to(stage=1))).state is ExperimentState.PAUSED
    await stop(place, order())
    for name in ("checkout", "draft"):
        with pytest.raises(Refused, match="it cannot change_coverage"):
            await change_coverage(place, to(name, stage=1))
    with pytest.raises(NotFound):
        await change_coverage(place, to("nobody", stage=1))


async def test_weights_by_hand_where_units_are_remembered() -> None:
    """A person may change the weights of a sticky experiment: the units that it remembers stay."""
    place, before = await running(sticky=True, **PLAIN)
    given_then = await variants(place)
    after = await reallocate(place, order(weights={"control": 9.0, "treatment": 1.0}))
    assert lost_share(before, after) == 0
    rules = parse(rule_set(await place.store.snapshot()))
    for unit, key in given_then.items():
        if key:
            now = evaluate(rules, "checkout", unit, recall=lambda _, __, key=key: (key, 2))  # type: ignore[misc]
            assert now.variant == key


def in_state(
    state: ExperimentState, coverage: float, weights: tuple[float, ...], **fields: Any
) -> Experiment:
    """Return an experiment as it would stand."""
    arms = tuple(Variant(key=f"v{number}", weight=weight) for number, weight in enumerate(weights))
    asked = definition(variants=arms, control="v0", policy=Policy(ramp=()))
    times = {"stage_started_at_ms": 0, "created_at_ms": 0, "updated_at_ms": 0}
    basis = {name: getattr(asked, name) for name in type(asked).model_fields}
    record = {**basis, **times, "state": state, "revision": 2, "changed_by": "ada", "reason": "", **fields}
    return Experiment(**record | {"coverage": coverage})


RUNNING = ExperimentState.RUNNING


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        (in_state(RUNNING, 0.2, (1, 1)), 0.4),
        (in_state(RUNNING, 1.0, (1, 1)), 0.0),
        (in_state(RUNNING, 1.0, (3, 1)), 0.25),
        (in_state(ExperimentState.PAUSED, 1.0, (1, 1)), 0.5),
        (in_state(ExperimentState.ROLLED_BACK, 1.0, (1, 1)), 0.5),
        (in_state(ExperimentState.PROMOTED, 1.0, (1, 1), promoted_variant="v1"), 0.0),
    ],
)
def test_share_that_loses_its_variant(after: Experiment, lost: float) -> None:
    """The share is exact: of less coverage, other weights, a pause, a rollback; none by a promotion."""
    assert lost_share(in_state(RUNNING, 1.0, (1, 1)), after) == lost


def test_a_shadow_has_nothing_to_lose() -> None:
    """Everybody meets control in a shadow experiment: its pause takes nothing from anybody."""
    shadow = {"kind": ExperimentKind.SHADOW, "model": "digits"}
    before, after = (in_state(state, 1.0, (1, 1), **shadow) for state in (RUNNING, ExperimentState.PAUSED))
    assert lost_share(before, after) == 0


@given(
    st.lists(st.floats(0.0, 10), min_size=2, max_size=5).filter(lambda weights: sum(weights) > 0.1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_share_is_what_the_ranges_lose(weights: list[float], one: float, other: float) -> None:
    """From more coverage to less, the share is the difference times the weight of all but control."""
    high, low = max(one, other), min(one, other)
    arms = tuple(weights)
    found = lost_share(in_state(RUNNING, high, arms), in_state(RUNNING, low, arms))
    assert found == pytest.approx((high - low) * (1 - weights[0] / sum(weights)), abs=1e-9)
    assert lost_share(in_state(RUNNING, low, arms), in_state(RUNNING, high, arms)) == 0
