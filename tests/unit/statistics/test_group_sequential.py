"""Group-sequential boundaries against published tables, simulation and their own definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.statistics.boundary_integration import exit_probabilities
from libs.statistics.group_sequential import (
    MAX_LOOKS,
    Classic,
    Plan,
    Spending,
    boundaries,
    classical_boundaries,
    equal_looks,
    log_spent,
    look_at,
    repeated_interval,
)

POCOCK_CONSTANTS = {1: 1.960, 2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413, 10: 2.555, 20: 2.672}
OBRIEN_FLEMING_CONSTANTS = {1: 1.960, 2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040, 10: 2.087, 20: 2.126}
"""Jennison, Turnbull (2000), tables 2.1 and 2.3, two-sided 5 %."""

PLANS = st.builds(
    lambda steps, alpha, spending, two_sided: Plan(
        tuple(float(each) for each in np.cumsum(steps) / sum(steps)), alpha, spending, two_sided
    ),
    st.lists(st.floats(0.05, 1), min_size=1, max_size=8),
    st.floats(1e-6, 0.5),
    st.sampled_from(Spending),
    st.booleans(),
)


@pytest.mark.parametrize("looks", POCOCK_CONSTANTS)
def test_classical_constants_are_the_published_ones(looks: int) -> None:
    """To the three digits that are printed."""
    pocock = classical_boundaries(Classic.POCOCK, looks)
    obrien_fleming = classical_boundaries(Classic.OBRIEN_FLEMING, looks)
    assert pocock[-1] == pytest.approx(POCOCK_CONSTANTS[looks], abs=6e-4)
    assert obrien_fleming[-1] == pytest.approx(OBRIEN_FLEMING_CONSTANTS[looks], abs=6e-4)
    assert pocock[0] == pocock[-1]
    assert obrien_fleming[0] == pytest.approx(obrien_fleming[-1] * math.sqrt(looks))


def test_other_levels_have_their_own_constants() -> None:
    """Pocock, five looks: 2.122 at 10 %, 2.986 at 1 %."""
    assert classical_boundaries(Classic.POCOCK, 5, 0.1)[-1] == pytest.approx(2.122, abs=6e-4)
    assert classical_boundaries(Classic.POCOCK, 5, 0.01)[-1] == pytest.approx(2.986, abs=6e-4)


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        (Spending.OBRIEN_FLEMING, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        (Spending.POCOCK, [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_spending_gives_the_bounds_of_lan_and_demets(spending: Spending, published: list[float]) -> None:
    """Five equal looks, two-sided 5 %, as ldbounds and gsDesign print them."""
    assert boundaries(Plan(equal_looks(5), spending=spending)) == pytest.approx(published, abs=2e-4)


@given(PLANS)
@settings(max_examples=25, deadline=None)
def test_each_look_spends_what_was_planned(plan: Plan) -> None:
    """At every look the chance to have crossed by then is the spending function, to nine digits."""
    bounds = [(-each if plan.two_sided else -math.inf, each) for each in boundaries(plan)]
    upper = np.cumsum(exit_probabilities(plan.fractions, bounds).upper)
    planned = [math.exp(log_spent(plan.spending, plan.tail_alpha, each)) for each in plan.fractions]
    assert upper == pytest.approx(planned, rel=1e-7, abs=1e-14)
    assert math.exp(log_spent(plan.spending, plan.tail_alpha, 1.0)) == pytest.approx(plan.tail_alpha)


@pytest.mark.parametrize("spending", Spending)
def test_random_walks_cross_as_often_as_computed(spending: Spending) -> None:
    """Of 200,000 walks, without drift and with one of 2: within four standard errors, look by look."""
    chance = np.random.default_rng(11)
    plan = Plan((0.1, 0.3, 0.35, 0.8, 1.0), 0.1, spending)
    fractions = np.array(plan.fractions)
    steps = np.diff(fractions, prepend=0.0)
    bounds = np.array(boundaries(plan))
    walks = 200_000
    noise = np.cumsum(chance.normal(size=(walks, 5)) * np.sqrt(steps), axis=1)
    for drift in (0.0, 2.0):
        z = (noise + drift * fractions) / np.sqrt(fractions)
        outside = np.abs(z) >= bounds
        first = np.where(outside.any(axis=1), outside.argmax(axis=1), -1)
        exits = exit_probabilities(plan.fractions, [(-each, each) for each in bounds], drift)
        for look, (up, down) in enumerate(zip(exits.upper, exits.lower, strict=True)):
            expected = up + down
            assert abs((first == look).mean() - expected) <= 4 * math.sqrt(expected / walks) + 1e-5
        if not drift:
            assert exits.total == pytest.approx(0.1)


@given(PLANS, st.floats(-60, 60), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_the_p_value_is_within_what_was_spent_exactly_when_the_bound_is_crossed(
    plan: Plan, z: float, look: int
) -> None:
    """And it is finite at any z, never above 1."""
    look = min(look, len(plan.fractions))
    found = look_at(plan, look, z)
    assert math.isfinite(found.log_p)
    assert 0 < found.p_value <= 1
    spent = log_spent(plan.spending, plan.tail_alpha, plan.fractions[look - 1])
    spent += math.log(2.0) if plan.two_sided else 0.0
    outward = abs(z) if plan.two_sided else z
    if abs(outward - found.bound) > 1e-5:
        # Far behind the bound what was spent before hides the rest from a float.
        assert found.crossed == (found.log_p <= spent + 1e-12)


def test_overwhelming_evidence_at_the_first_look_is_a_number() -> None:
    """At z = 50 the logarithm is that of the normal tail; infinity is one too."""
    plan = Plan(equal_looks(4))
    assert look_at(plan, 1, 50.0).log_p == pytest.approx(-1254.138, abs=1e-3)
    assert math.isfinite(look_at(plan, 1, math.inf).log_p)


def test_bounds_far_out_are_finite() -> None:
    """A first look after a thousandth, at a tiny alpha, has a bound nobody will cross, not infinity."""
    for alpha in (1e-12, 0.05, 0.999999):
        for two_sided in (True, False):
            for spending in Spending:
                bounds = boundaries(Plan((0.001, 0.002, 0.5, 0.501, 1.0), alpha, spending, two_sided))
                assert all(math.isfinite(each) for each in bounds)


def test_a_single_look_is_the_fixed_test() -> None:
    """1.96 two-sided, 1.645 one-sided; and the interval at that bound is the textbook's."""
    assert boundaries(Plan((1.0,)))[0] == pytest.approx(1.959964)
    assert boundaries(Plan((1.0,), two_sided=False))[0] == pytest.approx(1.644854)
    assert repeated_interval(3.0, 4.0, 2.0) == (-1.0, 7.0)


@pytest.mark.parametrize(
    ("fractions", "alpha", "word"),
    [
        ((), 0.05, "looks"),
        ((0.5, 1.5), 0.05, "fractions"),
        ((0.5, 0.5), 0.05, "fractions"),
        ((0.5, 0.4), 0.05, "fractions"),
        ((0.0, 1.0), 0.05, "fractions"),
        ((float("nan"),), 0.05, "fractions"),
        (tuple((look + 1) / 200 for look in range(MAX_LOOKS + 1)), 0.05, "looks"),
        ((1.0,), 0.0, "alpha"),
        ((1.0,), 1.0, "alpha"),
    ],
)
def test_a_plan_that_is_none_is_refused_by_name(
    fractions: tuple[float, ...], alpha: float, word: str
) -> None:
    """The message names the field to change."""
    with pytest.raises(ValueError, match=word):
        Plan(fractions, alpha)


def test_a_look_that_was_not_planned_is_refused() -> None:
    """So is a z that is no number."""
    plan = Plan(equal_looks(2))
    with pytest.raises(ValueError, match="look"):
        look_at(plan, 3, 1.0)
    with pytest.raises(ValueError, match="z"):
        look_at(plan, 1, math.nan)
