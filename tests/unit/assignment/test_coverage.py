"""From a ramp's shares to coverage."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.errors import Refused
from schemas.experiments import ExperimentKind, Metric, Policy, RampStage, Variant
from services.assignment.domain.coverage import coverage_at
from services.assignment.domain.definitions import MAX_DEFINITION_BYTES, check_definition
from tests.unit.assignment.make import definition, trial
from trimtab.bucketing import pick, ranges

SHARE = st.floats(0.001, 1.0)
PLACE = st.floats(0, 1, exclude_max=True)


def ramped(weights: list[float], *shares: float) -> Policy:
    """Return a policy with these shares."""
    return Policy(ramp=tuple(RampStage(share=share, min_duration_ms=0) for share in shares))


def weighted(weights: list[float], *shares: float):  # type: ignore[no-untyped-def]
    """Return a definition with these weights and shares; the first variant is control."""
    variants = tuple(Variant(key=f"v{number}", weight=weight) for number, weight in enumerate(weights))
    return definition(variants=variants, control="v0", policy=ramped(weights, *shares))


@pytest.mark.parametrize(
    ("weights", "share", "coverage"),
    [
        ([1, 1], 0.1, 0.2),
        ([1, 1], 0.5, 1.0),
        ([1, 1], 0.9, 1.0),
        ([3, 1], 0.1, 0.4),
        ([1, 1, 1], 0.1, 0.3),
        ([1, 2, 1], 0.1, 0.2),
        ([1, 0], 0.1, 1.0),
    ],
)
def test_share_of_the_largest_challenger_is_the_stage_share(
    weights: list[float], share: float, coverage: float
) -> None:
    """At each stage the largest non-control variant gets the stage's share, and no other gets more."""
    assert coverage_at(weighted(weights, share), 0) == pytest.approx(coverage)


@given(st.lists(st.floats(0, 1_000), min_size=2, max_size=8), st.lists(SHARE, min_size=2, max_size=5), PLACE)
def test_a_ramp_moves_nobody(weights: list[float], shares: list[float], place: float) -> None:
    """Who has a variant at one stage has the same one at every later stage."""
    assume(sum(weights) > 0)
    ramp = weighted(weights, *sorted(shares))
    held = None
    for stage in range(len(shares)):
        index = pick(ranges(weights, coverage_at(ramp, stage)), place)
        assert held is None or index == held
        held = index if held is None else held


def test_shrinking_ramp_is_refused() -> None:
    """A ramp whose shares do not grow would move units, and is refused with the field's name."""
    with pytest.raises(Refused) as refusal:
        check_definition(weighted([1, 1], 0.25, 0.1))
    assert refusal.value.field == "policy.ramp"


def test_huge_definition_is_refused() -> None:
    """A definition that every client would have to carry has a limit."""
    variants = (Variant(key="control", payload="x" * MAX_DEFINITION_BYTES), Variant(key="treatment"))
    with pytest.raises(Refused, match="limit"):
        check_definition(definition(variants=variants))


def test_result_must_fit_on_the_bus() -> None:
    """Variants times metrics have a limit, since a result carries each; the refusal says what would do."""

    def wide(metrics: int):  # type: ignore[no-untyped-def]
        named = tuple(Metric(name=f"m{number}", conversion="bought") for number in range(metrics))
        variants = tuple(Variant(key=f"v{number}") for number in range(20))
        return definition(variants=variants, control="v0", metrics=named)

    check_definition(wide(25))
    with pytest.raises(Refused, match="500 is the limit") as refusal:
        check_definition(wide(26))
    assert refusal.value.field == "metrics"
    assert refusal.value.next_step == "with 20 variants name at most 25 metrics"


def test_trial_has_two_versions() -> None:
    """A champion/challenger experiment names exactly two variants, each with its version."""
    check_definition(trial("digits-v2"))
    three = tuple(Variant(key=key, model_version=key) for key in ("a", "b", "c"))
    kind = ExperimentKind.CHAMPION_CHALLENGER
    with pytest.raises(Refused, match="two variants"):
        check_definition(definition(kind=kind, model="digits", variants=three, control="a"))
    with pytest.raises(Refused, match="names a version"):
        check_definition(definition(kind=kind, model="digits"))
