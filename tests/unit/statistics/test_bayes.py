"""Bayesian figures against closed forms, brute force and their own laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln
from scipy.stats import norm

from libs.statistics.bayes import CONTINUOUS_LOOKING, Belief, Credible, Prior, believe, best_of
from libs.statistics.differences import NotEnough
from libs.statistics.sums import MICRO, Sums, exact_sums

RATE = Prior(proportion=True)
MEAN = Prior(proportion=False)


def rate(units: int, converted: int) -> Sums:
    """Return the sums of a proportion."""
    return Sums(units, converted, converted * MICRO, converted * MICRO * MICRO)


def belief(treatment: Sums, control: Sums, prior: Prior) -> Belief:
    """Return the belief, which there must be."""
    found = believe(treatment, control, prior)
    assert isinstance(found, Belief)
    return found


def numbers(found: Belief) -> list[float]:
    """Return every number of a belief."""
    listed = [found.chance_to_beat_control, found.expected_loss, found.expected_loss_of_control]
    parts = [found.difference, *([found.lift] if isinstance(found.lift, Credible) else [])]
    return listed + [each for part in parts for each in (part.estimate, part.lower, part.upper)]


COUNTS = st.integers(0, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


@given(COUNTS, COUNTS)
@settings(max_examples=40, deadline=None)
def test_the_chance_is_the_finite_sum(treatment: tuple[int, int], control: tuple[int, int]) -> None:
    """Σ B(a0 + i, b0 + b1) / ((b1 + i) B(1 + i, b1) B(a0, b0)): exact for whole numbers (Miller 2010)."""
    found = belief(rate(*treatment), rate(*control), RATE)
    a1, b1 = treatment[1] + 1, treatment[0] - treatment[1] + 1
    a0, b0 = control[1] + 1, control[0] - control[1] + 1
    expected = math.fsum(
        math.exp(betaln(a0 + i, b0 + b1) - math.log(b1 + i) - betaln(1 + i, b1) - betaln(a0, b0))
        for i in range(a1)
    )
    assert found.chance_to_beat_control == pytest.approx(expected, abs=1e-7)


@given(COUNTS, COUNTS, st.floats(0.001, 0.5))
@settings(max_examples=40, deadline=None)
def test_laws_of_a_belief_in_rates(
    treatment: tuple[int, int], control: tuple[int, int], alpha: float
) -> None:
    """Losses differ by the difference; swapping the arms mirrors it; intervals hold their estimate."""
    prior = Prior(proportion=True, alpha=alpha)
    found = belief(rate(*treatment), rate(*control), prior)
    mirrored = belief(rate(*control), rate(*treatment), prior)
    assert all(map(math.isfinite, numbers(found)))
    assert found.chance_to_beat_control == pytest.approx(1 - mirrored.chance_to_beat_control, abs=1e-7)
    assert found.expected_loss >= 0
    assert found.expected_loss == pytest.approx(mirrored.expected_loss_of_control, abs=1e-9)
    gain = found.expected_loss_of_control - found.expected_loss
    assert gain == pytest.approx(found.difference.estimate, abs=1e-7)
    assert isinstance(found.lift, Credible)
    assert found.lift.lower <= found.lift.estimate <= found.lift.upper
    assert found.difference.lower < found.difference.upper


@pytest.mark.parametrize(
    ("treatment", "control"),
    [
        ((1_000, 110), (1_000, 100)),
        ((10, 3), (100_000, 20_000)),
        ((500, 500), (500, 400)),
        ((2_000, 200), (2_000, 0)),
        ((0, 0), (5_000, 50)),
    ],
)
def test_intervals_and_losses_are_those_of_a_million_draws(
    treatment: tuple[int, int], control: tuple[int, int]
) -> None:
    """Seeded draws from both posteriors agree within their own error."""
    found = belief(rate(*treatment), rate(*control), RATE)
    chance = np.random.default_rng(5)
    one = chance.beta(treatment[1] + 1, treatment[0] - treatment[1] + 1, 1_000_000)
    two = chance.beta(control[1] + 1, control[0] - control[1] + 1, 1_000_000)
    spread = (one - two).std()
    drawn = np.quantile(one - two, [0.025, 0.975])
    assert [found.difference.lower, found.difference.upper] == pytest.approx(drawn, abs=0.01 * spread)
    assert found.expected_loss == pytest.approx(np.maximum(two - one, 0).mean(), abs=0.005 * spread)
    assert isinstance(found.lift, Credible)
    inside = (one / two - 1 >= found.lift.lower) & (one / two - 1 <= found.lift.upper)
    assert inside.mean() == pytest.approx(0.95, abs=0.001)
    assert (one / two - 1 <= found.lift.estimate).mean() == pytest.approx(0.5, abs=0.003)


def test_means_have_the_normal_closed_forms() -> None:
    """Chance, loss and interval of a normal difference; the lift's interval by brute force."""
    chance = np.random.default_rng(3)
    treatment = exact_sums(list(chance.normal(10.4, 4, 900)))
    control = exact_sums(list(chance.normal(10.0, 4, 1_100)))
    found = belief(treatment, control, MEAN)
    pooled = (treatment + control).variance
    assert pooled
    assert treatment.variance
    assert control.variance
    assert treatment.mean
    assert control.mean
    v1, v0 = max(treatment.variance, pooled) / 900, max(control.variance, pooled) / 1_100
    difference, spread = treatment.mean - control.mean, math.sqrt(v1 + v0)
    z = difference / spread
    assert found.chance_to_beat_control == pytest.approx(norm.cdf(z))
    assert found.expected_loss == pytest.approx(spread * (norm.pdf(z) - z * norm.sf(z)))
    assert found.expected_loss_of_control == pytest.approx(spread * (norm.pdf(z) + z * norm.cdf(z)))
    assert found.difference.lower == pytest.approx(difference - 1.959964 * spread)
    ones, twos = chance.normal(treatment.mean, v1**0.5, 10**6), chance.normal(control.mean, v0**0.5, 10**6)
    assert isinstance(found.lift, Credible)
    assert (ones / twos - 1 <= found.lift.lower).mean() == pytest.approx(0.025, abs=8e-4)
    assert (ones / twos - 1 <= found.lift.upper).mean() == pytest.approx(0.975, abs=8e-4)


def test_a_negative_control_is_measured_by_its_size() -> None:
    """From -10 to -12 is 20 % down, with an interval around it."""
    found = belief(exact_sums([-11.0, -13.0] * 500), exact_sums([-9.0, -11.0] * 500), MEAN)
    assert isinstance(found.lift, Credible)
    assert found.lift.lower < found.lift.estimate < found.lift.upper < 0
    assert found.lift.estimate == pytest.approx(-0.2, abs=1e-3)


def test_direction_turns_the_chance_and_the_loss_round() -> None:
    """Fewer errors are better."""
    fewer = believe(rate(1_000, 50), rate(1_000, 90), Prior(proportion=True, better_when_higher=False))
    assert isinstance(fewer, Belief)
    assert fewer.chance_to_beat_control > 0.99
    assert fewer.expected_loss < 1e-5 < fewer.expected_loss_of_control


def test_overwhelming_differences_stay_numbers() -> None:
    """A loss too small for doubt is still positive, far below what a cancelling difference could tell."""
    found = belief(rate(500, 500), rate(500, 400), RATE)
    assert 0 < found.expected_loss < 1e-30
    huge = belief(rate(10**12, 10**11), rate(10**12, 10**11), RATE)
    assert huge.chance_to_beat_control == pytest.approx(0.5, abs=1e-5)
    far = belief(exact_sums([1e12, 1e12 + 1]), exact_sums([-1e12, -1e12 + 1]), MEAN)
    assert all(map(math.isfinite, numbers(far)))


@given(
    st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=5),
    st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=5),
)
def test_never_nan_never_infinite(one: list[float], two: list[float]) -> None:
    """Whatever the values, every number is finite."""
    found = believe(exact_sums(one), exact_sums(two), MEAN)
    if isinstance(found, Belief):
        assert all(map(math.isfinite, numbers(found)))


def test_without_data_a_mean_has_no_belief_and_a_rate_has_a_wide_one() -> None:
    """Nothing, one unit, or one value only: a reason; a rate without units: even chances."""
    for treatment, control in ((Sums(), Sums()), (exact_sums([1.0]), exact_sums([1.0, 2.0]))):
        assert isinstance(believe(treatment, control, MEAN), NotEnough)
    assert isinstance(believe(exact_sums([2.0, 2.0]), exact_sums([2.0, 2.0]), MEAN), NotEnough)
    nothing = belief(Sums(), Sums(), RATE)
    assert nothing.chance_to_beat_control == pytest.approx(0.5)
    assert nothing.expected_loss == pytest.approx(1 / 6)


def test_a_control_next_to_zero_has_no_lift() -> None:
    """The reason says so, the difference is there."""
    found = belief(exact_sums([1.0, 2.0] * 50), exact_sums([-1.0, 1.0] * 50), MEAN)
    assert isinstance(found.lift, NotEnough)
    assert "standard errors of 0" in found.lift.reason


def test_the_best_of_two_is_the_one_that_beats_the_other() -> None:
    """The quadrature over all arms agrees with that over two."""
    found = best_of({"a": rate(300, 40), "b": rate(500, 50)}, RATE)
    assert isinstance(found, dict)
    pair = belief(rate(300, 40), rate(500, 50), RATE)
    assert found["a"] == pytest.approx(pair.chance_to_beat_control, abs=1e-9)


@pytest.mark.parametrize("proportion", [True, False])
def test_the_best_of_many_are_those_of_a_million_draws(proportion: bool) -> None:
    """A narrow arm among wide ones is not stepped over; chances sum to 1 in any order of the arms."""
    sizes = {
        "a": (1_000, 100),
        "b": (1_000, 105),
        "c": (10**8, 105 * 10**5),
        "d": (3, 0 if proportion else 1),
    }
    variants = {key: rate(*size) for key, size in sizes.items()}
    prior = Prior(proportion=proportion)
    found = best_of(variants, prior)
    assert isinstance(found, dict)
    assert sum(found.values()) == pytest.approx(1)
    assert best_of(dict(reversed(variants.items())), prior) == found
    chance = np.random.default_rng(2)
    if proportion:
        draws = [chance.beta(c + 1, n - c + 1, 10**6) for n, c in sizes.values()]
    else:
        pooled = sum(variants.values(), Sums()).variance
        assert pooled
        errors = [(max(each.variance or 0, pooled) / each.units) ** 0.5 for each in variants.values()]
        means = [c / n for n, c in sizes.values()]
        draws = [chance.normal(mean, error, 10**6) for mean, error in zip(means, errors, strict=True)]
    drawn = np.bincount(np.argmax(draws, axis=0), minlength=4) / 10**6
    assert list(found.values()) == pytest.approx(drawn, abs=0.002)


def test_fifty_equal_arms_share_alike() -> None:
    """Each is best with one chance in fifty; nobody at all has none."""
    found = best_of({str(arm): rate(200, 20) for arm in range(50)}, RATE)
    assert isinstance(found, dict)
    assert list(found.values()) == pytest.approx([0.02] * 50, abs=1e-9)
    assert best_of({}, RATE) == {}
    assert isinstance(best_of({"a": Sums(), "b": exact_sums([1.0, 2.0])}, MEAN), NotEnough)
    assert isinstance(best_of({"a": exact_sums([1.0] * 3)}, MEAN), NotEnough)


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_an_alpha_that_is_none_is_refused_by_name(alpha: float) -> None:
    """The message names the field to change."""
    with pytest.raises(ValueError, match="alpha"):
        Prior(proportion=True, alpha=alpha)


def test_the_warning_says_what_is_not_promised() -> None:
    """Whoever shows these figures shows that looking all the time is not protected."""
    assert "not protected" in CONTINUOUS_LOOKING
