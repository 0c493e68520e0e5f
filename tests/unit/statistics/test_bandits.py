"""Bandit policies: shares, floors, and what they earn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.statistics.bandits import Bandit, Policy, allocate
from libs.statistics.bayes import Prior, best_of
from libs.statistics.sums import MICRO, Sums, exact_sums


def rate(units: int, converted: int) -> Sums:
    """Return the sums of a proportion."""
    return Sums(units, converted, converted * MICRO, converted * MICRO * MICRO)


ARMS = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.lists(st.floats(-1e12, 1e12), max_size=4).map(exact_sums),
    min_size=1,
    max_size=50,
)


@given(ARMS, st.sampled_from(Policy), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_shares_are_propensities_whatever_was_earned(
    arms: dict[str, Sums], policy: Policy, proportion: bool, higher: bool
) -> None:
    """Each at least the floor, together 1, and the same in any order of the variants."""
    bandit = Bandit(policy, proportion, better_when_higher=higher)
    shares = allocate(arms, bandit).shares
    assert shares.keys() == arms.keys()
    assert all(math.isfinite(share) and share >= 0.01 - 1e-12 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1)
    assert allocate(dict(reversed(arms.items())), bandit).shares == shares


def test_thompson_follows_the_chance_to_be_best() -> None:
    """Floor plus the rest in proportion to that chance."""
    arms = {"a": rate(1_000, 100), "b": rate(1_000, 120), "c": rate(50, 4)}
    chances = best_of(arms, Prior(proportion=True))
    assert isinstance(chances, dict)
    shares = allocate(arms, Bandit(Policy.THOMPSON, proportion=True)).shares
    assert shares == pytest.approx({key: 0.01 + 0.97 * chance for key, chance in chances.items()})


def test_epsilon_greedy_prefers_the_best_and_splits_ties() -> None:
    """Epsilon over all, the rest to the best; two best share it; lower may be better."""
    arms = {"a": rate(100, 10), "b": rate(100, 20), "c": rate(1_000, 200)}
    greedy = Bandit(Policy.EPSILON_GREEDY, proportion=True, floor=1e-9, epsilon=0.3)
    assert allocate(arms, greedy).shares == pytest.approx({"a": 0.1, "b": 0.45, "c": 0.45}, abs=1e-6)
    fewer = Bandit(Policy.EPSILON_GREEDY, proportion=True, better_when_higher=False, floor=1e-9, epsilon=0.0)
    assert allocate(arms, fewer).shares["a"] == pytest.approx(1, abs=1e-6)


def test_ucb_prefers_what_it_knows_little_of() -> None:
    """By hand: 0.2 + sqrt(2 ln 1010 / 10) beats 0.3 + sqrt(2 ln 1010 / 1000); of means by the variance."""
    ucb = Bandit(Policy.UCB1, proportion=True)
    shares = allocate({"new": rate(10, 2), "known": rate(1_000, 300)}, ucb).shares
    assert shares == pytest.approx({"new": 0.99, "known": 0.01})
    means = {"steady": exact_sums([5.0, 5.1] * 50), "wild": exact_sums([0.0, 9.0] * 50)}
    assert allocate(means, Bandit(Policy.UCB1, proportion=False)).shares["wild"] == pytest.approx(0.99)


@pytest.mark.parametrize("policy", Policy)
def test_until_every_variant_can_be_judged_shares_are_equal(policy: Policy) -> None:
    """No units in one, one unit of a mean, no variance at all (Thompson): even, and the reason says why."""
    assert allocate({"a": rate(5, 1), "b": Sums()}, Bandit(policy, True)).shares == {"a": 0.5, "b": 0.5}
    lone = {"a": exact_sums([1.0]), "b": exact_sums([1.0, 2.0])}
    assert allocate(lone, Bandit(policy, False)).shares == {"a": 0.5, "b": 0.5}
    same = allocate({"a": exact_sums([1.0] * 9), "b": exact_sums([1.0] * 9)}, Bandit(policy, False))
    assert same.shares == pytest.approx({"a": 0.5, "b": 0.5})
    assert same.reason


@pytest.mark.parametrize("policy", Policy)
def test_a_bandit_finds_the_best_arm(policy: Policy) -> None:
    """Of 20,000 units in 100 batches, 10 % against 5 %: most go to the better one, for 20 of 20 seeds.

    UCB1 explores longest: a share of 60 % is asked of it, 80 % of the others.
    """
    rates = {"worse": 0.05, "better": 0.10}
    bandit = Bandit(policy, proportion=True)
    for seed in range(20):
        chance = np.random.default_rng(seed)
        sums = {key: Sums() for key in rates}
        for _ in range(100):
            shares = allocate(sums, bandit).shares
            given_to = chance.multinomial(200, list(shares.values()))
            for key, units in zip(shares, given_to.tolist(), strict=True):
                sums[key] += rate(units, int(chance.binomial(units, rates[key])))
        assert sums["better"].units >= (12_000 if policy is Policy.UCB1 else 16_000), (policy, seed)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"floor": 0.0}, "floor"), ({"floor": 1.5}, "floor"), ({"epsilon": -0.1}, "epsilon")],
)
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, float], word: str) -> None:
    """The message names the field to change."""
    with pytest.raises(ValueError, match=word):
        Bandit(Policy.THOMPSON, True, **settings)  # type: ignore[arg-type]


def test_a_floor_that_cannot_be_kept_and_no_variants_are_refused() -> None:
    """Fifty arms at 3 % are more than all units; at 2 % the floor is everything."""
    arms = {str(arm): rate(100, arm) for arm in range(50)}
    with pytest.raises(ValueError, match="floor"):
        allocate(arms, Bandit(Policy.THOMPSON, True, floor=0.03))
    even = allocate(arms, Bandit(Policy.THOMPSON, True, floor=0.02)).shares
    assert list(even.values()) == pytest.approx([0.02] * 50)
    with pytest.raises(ValueError, match="variants"):
        allocate({}, Bandit(Policy.THOMPSON, True))
