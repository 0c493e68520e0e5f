"""The exact test and interval of proportions: error rates at every look, directions, edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta

from libs.statistics.binomial_mixtures import Mixture, Side
from libs.statistics.differences import NotEnough
from libs.statistics.proportions import (
    Counted,
    ExactInterval,
    ExactTest,
    Split,
    difference_interval,
    exact_test,
    normal_is_safe,
    rate_interval,
)
from libs.statistics.sums import MICRO, Sums

RUNS = 1_000
ALPHA = 0.05


def rate(units: int, converted: int) -> Sums:
    """Return the sums of a proportion."""
    return Sums(units, converted, converted * MICRO, converted * MICRO * MICRO)


def evidence(treatment: Sums, control: Sums, split: Split) -> ExactTest:
    """Return the evidence, which there must be."""
    found = exact_test(treatment, control, split)
    assert isinstance(found, ExactTest)
    return found


def below(alarms: int) -> bool:
    """Return whether the 99 % upper bound of the rate behind so many alarms lies below alpha."""
    return float(beta.ppf(0.99, alarms + 1, RUNS - alarms)) <= ALPHA


def converting(chance: np.random.Generator, share: float) -> NDArray[np.bool_]:
    """Return whose conversion each one is, in order of time, in a world without an effect but with everything
    that goes wrong: 1,500 units come by lot and interleaved, their rate swings between 0.2 % and 6 % by the
    hour, and each converts after a delay of its own."""
    treated = chance.random(1_500) < share
    rates = 0.031 + 0.029 * np.sin(np.arange(1_500) / 90.0)
    converts = chance.random(1_500) < rates
    when = np.arange(1_500) + chance.exponential(400.0, 1_500)
    return treated[converts][np.argsort(when[converts])]


@pytest.mark.parametrize("share", [0.5, 0.1, 0.97])
def test_looking_after_every_conversion_rarely_errs(share: float) -> None:
    """With unequal, interleaved arms, changing rates and delays, p passes 5 % in fewer than 5 % of 1,000 runs
    that are looked at after every conversion: two-sided and in either direction."""
    chance = np.random.default_rng(31)
    mixture = Mixture.tuned_to(share, 100, ALPHA)
    values: dict[tuple[int, int, Side], float] = {}
    alarms = dict.fromkeys(Side, 0)
    for _ in range(RUNS):
        ones = np.cumsum(converting(chance, share)).tolist()
        for side in Side:
            keys = [(hits, number, side) for number, hits in enumerate(ones, 1)]
            for key in keys:
                if key not in values:
                    values[key] = mixture.log_e(*key)
            alarms[side] += max((values[key] for key in keys), default=0.0) >= -math.log(ALPHA)
    assert all(below(each) for each in alarms.values()), alarms


def test_a_treatment_that_is_better_is_not_called_worse() -> None:
    """The one-sided test holds for every harmless effect: twice the conversions raise no alarm of fewer."""
    chance = np.random.default_rng(7)
    mixture = Mixture.tuned_to(0.5, 100, ALPHA)
    for _ in range(100):
        hits = np.cumsum(chance.random(60) < 2 / 3).tolist()
        worst = max(mixture.log_e(each, number, Side.FEWER) for number, each in enumerate(hits, 1))
        assert worst < -math.log(ALPHA) + 2


@given(st.integers(0, 40), st.floats(0.02, 0.98), st.floats(0.1, 500.0), st.sampled_from(list(Side)))
def test_the_e_value_has_mean_one_under_its_null(
    trials: int, share: float, strength: float, side: Side
) -> None:
    """Summed over all outcomes of some trials, probability times E is 1: nothing is given away."""
    mixture = Mixture(share, strength)
    total = 0.0
    for hits in range(trials + 1):
        log_chance = math.log(math.comb(trials, hits)) + hits * math.log(share)
        log_chance += (trials - hits) * math.log1p(-share)
        total += math.exp(log_chance + mixture.log_e(hits, trials, side))
    assert total == pytest.approx(1.0, rel=1e-9)


@given(st.integers(1, 25), st.floats(0.05, 0.9), st.floats(0.0, 1.0), st.floats(1.0, 100.0))
def test_one_sided_evidence_is_none_against_the_whole_other_side(
    trials: int, share: float, further: float, strength: float
) -> None:
    """Under any chance above the known one the e-value of "fewer" has a mean of at most 1."""
    mixture, truth = Mixture(share, strength), share + further * (1.0 - share)
    total = sum(
        math.comb(trials, k) * truth**k * (1.0 - truth) ** (trials - k)
        * math.exp(mixture.log_e(k, trials, Side.FEWER))
        for k in range(trials + 1)
    )  # fmt: skip
    assert total <= 1.0 + 1e-9


def test_harm_is_found_in_its_direction() -> None:
    """2 of 500 against 30 of 500: fewer conversions, harm where more is better, none where fewer is."""
    found = evidence(rate(500, 2), rate(500, 30), Split())
    assert found.log_p < math.log(0.001)
    assert found.log_p_of_harm(better_when_higher=True) < math.log(0.001)
    assert found.log_p_of_harm(better_when_higher=False) == 0.0


def test_misses_mirror_conversions() -> None:
    """Counting misses of the mirrored table gives the same evidence with the directions swapped."""
    plain = evidence(rate(500, 2), rate(500, 30), Split(share=0.3))
    mirrored = evidence(rate(500, 498), rate(500, 470), Split(share=0.3, counted=Counted.MISSES))
    assert mirrored == ExactTest(plain.log_e, plain.log_e_higher, plain.log_e_lower)


@pytest.mark.parametrize(
    ("counted", "sums", "word"),
    [(Counted.CONVERSIONS, rate(9, 0), "no conversions"), (Counted.MISSES, rate(9, 9), "no misses")],
)
def test_nothing_counted_is_a_reason(counted: Counted, sums: Sums, word: str) -> None:
    """None converted (or missed), or no units: a reason."""
    for each in (sums, Sums()):
        found = exact_test(each, each, Split(counted=counted))
        assert isinstance(found, NotEnough)
        assert word in found.reason


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(1e-9, 1 - 1e-9), st.integers(1, 10**9))
def test_any_counts_give_finite_evidence(one: int, zero: int, share: float, tuned: int) -> None:
    """However many conversions and however lopsided, all three logarithms are finite."""
    found = exact_test(rate(one, one), rate(zero, zero), Split(share, 0.05, tuned))
    if isinstance(found, ExactTest):
        assert all(map(math.isfinite, (found.log_e, found.log_e_lower, found.log_e_higher, found.log_p)))


def test_the_interval_of_a_rate_covers_at_every_look() -> None:
    """In at least 95 % of 1,000 runs the interval never loses the true 3 %, whichever of 1,500 units one
    looks at; asked where it is most in danger, at each conversion and just before it."""
    chance = np.random.default_rng(17)
    lost = 0
    intervals: dict[tuple[int, int], tuple[float, float]] = {}
    for _ in range(RUNS):
        at = (np.flatnonzero(chance.random(1_500) < 0.03) + 1).tolist()
        looks = [(k, n) for k, n in enumerate(at, 1)] + [(k, n - 1) for k, n in enumerate(at) if n > 1]
        for look in looks:
            if look not in intervals:
                intervals[look] = rate_interval(*look, ALPHA)
        lost += any(not intervals[look][0] <= 0.03 <= intervals[look][1] for look in looks)
    assert below(lost)


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([1e-300, 1e-6, 0.05, 0.9]))
def test_the_interval_holds_its_rate_and_mirrors(converted: int, missed: int, alpha: float) -> None:
    """Inside [0, 1], around the observed rate, and that of the misses is its mirror image."""
    units = converted + missed
    low, high = rate_interval(converted, units, alpha)
    assert 0.0 <= low <= high <= 1.0
    if units:
        assert low <= converted / units + 1e-12
        assert high >= converted / units - 1e-12
    mirrored = rate_interval(missed, units, alpha)
    assert (1.0 - mirrored[1], 1.0 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_the_difference_is_the_union_of_both() -> None:
    """Ends are those of the rates at half of alpha, and none of no units."""
    found = difference_interval(rate(800, 40), rate(400, 4))
    one, zero = rate_interval(40, 800, 0.025), rate_interval(4, 400, 0.025)
    assert isinstance(found, ExactInterval)
    assert (found.lower, found.upper) == (one[0] - zero[1], one[1] - zero[0])
    assert found.estimate == pytest.approx(0.04)
    assert isinstance(difference_interval(Sums(), rate(9, 1)), NotEnough)


def test_the_rule_for_the_normal_sequence() -> None:
    """Ten conversions and ten misses to be expected in the smaller variant, whatever it had itself."""
    assert normal_is_safe(rate(1_000, 0), rate(1_000, 20))
    assert not normal_is_safe(rate(100, 0), rate(1_000, 20))
    assert not normal_is_safe(rate(1_000, 999), rate(1_000, 1_000))
    assert not normal_is_safe(Sums(), Sums())


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Split(share=0.0), "share"),
        (lambda: Split(share=1.0), "share"),
        (lambda: Split(alpha=1.0), "alpha"),
        (lambda: Split(tuned_outcomes=0), "tuned_outcomes"),
        (lambda: Mixture(1.0, 5.0), "chance"),
        (lambda: Mixture(0.5, math.inf), "strength"),
        (lambda: rate_interval(1, 2, 0.0), "alpha"),
        (lambda: difference_interval(rate(2, 1), rate(2, 1), 1.0), "alpha"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(make: object, field: str) -> None:
    """The message names the field to change."""
    assert callable(make)
    with pytest.raises(ValueError, match=field):
        make()
