"""Following advice that a policy asks for beyond the ramp: weights, early stops, approvals."""

from typing import Any

import pytest

from libs.common.errors import Refused
from schemas.experiments import ExperimentKind, Metric, Policy, Variant, VerdictKind
from schemas.policies import Approval, Bandit, EarlyStop, Method
from services.assignment.handlers.create import create
from services.assignment.handlers.follow_verdict import follow_verdict
from services.assignment.handlers.pause import pause
from services.assignment.handlers.reallocate import reallocate
from tests.unit.assignment.make import RAMP, definition, desk, order, verdict

METRICS = (Metric(name="bought", conversion="purchase"),)
BANDIT: dict[str, Any] = {
    "kind": ExperimentKind.BANDIT,
    "policy": Policy(bandit=Bandit()),
    "metrics": METRICS,
}
WEIGHTS = {"control": 0.2, "treatment": 0.8}
PLANNED: dict[str, Any] = {"method": Method.GROUP_SEQUENTIAL, "planned_units": 1_000}


async def test_a_bandits_weights_follow_the_verdict() -> None:
    """The variants get the verdict's weights in a new revision, once; coverage and ramp stay out of it."""
    place = desk()
    experiment = await create(place, definition(**BANDIT), by="ada", start=True)
    advice = verdict(experiment, VerdictKind.REALLOCATE, weights=WEIGHTS)
    assert await follow_verdict(place, advice) == ""
    after = await place.store.find("checkout")
    assert after is not None
    assert {each.key: each.weight for each in after.variants} == WEIGHTS
    assert [each.payload for each in after.variants] == ["blue", "green"]
    assert (after.revision, after.coverage, after.stage) == (experiment.revision + 1, 1.0, 0)
    assert "revision" in await follow_verdict(place, advice)


async def test_only_a_running_bandit_is_reallocated() -> None:
    """Another kind of experiment, or one that is paused, keeps its weights."""
    place = desk()
    plain = await create(place, definition("plain"), by="ada", start=True)
    assert "does not ask" in await follow_verdict(
        place, verdict(plain, VerdictKind.REALLOCATE, weights=WEIGHTS)
    )
    await create(place, definition(**BANDIT), by="ada", start=True)
    paused = await pause(place, order())
    assert "paused" in await follow_verdict(place, verdict(paused, VerdictKind.REALLOCATE, weights=WEIGHTS))
    with pytest.raises(Refused, match="would move them"):
        await reallocate(place, order("plain", weights=WEIGHTS))


@pytest.mark.parametrize(
    "weights", [{}, {"control": 1.0}, {**WEIGHTS, "other": 0.1}, {"control": 0.0, "treatment": 1.0}]
)
async def test_weights_that_do_not_fit_are_not_followed(weights: dict[str, float]) -> None:
    """A weight is missing, unknown or 0: answered with a reason, and nothing changes."""
    place = desk()
    experiment = await create(place, definition(**BANDIT), by="ada", start=True)
    advice = verdict(experiment, VerdictKind.REALLOCATE, weights=weights)
    assert "positive weight" in await follow_verdict(place, advice)
    assert await place.store.find("checkout") == experiment


@pytest.mark.parametrize(
    ("policy", "kind", "state"),
    [
        (Policy(ramp=RAMP, approval=Approval()), VerdictKind.PROMOTE, "promoted"),
        (Policy(ramp=RAMP, early_stop=EarlyStop.PROMOTE, **PLANNED), VerdictKind.PROMOTE, "promoted"),
        (Policy(ramp=RAMP, early_stop=EarlyStop.PROMOTE, **PLANNED), VerdictKind.STOP, "stopped"),
        (Policy(ramp=RAMP, early_stop=EarlyStop.STOP, **PLANNED), VerdictKind.STOP, "stopped"),
        (Policy(ramp=RAMP, early_stop=EarlyStop.STOP, **PLANNED), VerdictKind.PROMOTE, "running"),
        (Policy(ramp=RAMP), VerdictKind.STOP, "running"),
        (Policy(ramp=RAMP), VerdictKind.PROMOTE, "running"),
    ],
)
async def test_what_the_policy_asks_for_happens_at_any_stage(
    policy: Policy, kind: VerdictKind, state: str
) -> None:
    """An approval promotes and an early stop ends at the first stage; without these the advice is ignored."""
    place = desk()
    experiment = await create(place, definition(policy=policy), by="ada", start=True)
    why_not = await follow_verdict(place, verdict(experiment, kind))
    after = await place.store.find("checkout")
    assert after is not None
    assert after.state == state
    assert bool(why_not) == (state == "running")


async def test_a_factorial_definition_keeps_its_levels() -> None:
    """The levels of the variants are part of the experiment as it stands."""
    place = desk()
    variants = (
        Variant(key="control", levels={"color": "red"}),
        Variant(key="treatment", levels={"color": "blue"}),
    )
    asked = definition(kind=ExperimentKind.MULTIVARIATE, variants=variants)
    experiment = await create(place, asked, by="ada", start=True)
    assert [each.levels["color"] for each in experiment.variants] == ["red", "blue"]
