"""Accuracy and its evidence."""

import numpy as np
import pytest

from libs.statistics.accuracy import accuracy, level_at_look, shortfall_p_value


def test_accuracy() -> None:
    """The share of right answers; without labels it is unknown."""
    assert accuracy(9, 10) == 0.9
    assert accuracy(0, 0) is None


def test_shortfall_by_hand() -> None:
    """At most 1 of 3 right at an even chance: (1 + 3) / 8."""
    assert shortfall_p_value(1, 3, 0.5) == pytest.approx(0.5)
    assert shortfall_p_value(0, 0, 0.5) == 1.0
    assert shortfall_p_value(3, 4, 1.0) == 0.0
    assert shortfall_p_value(2, 4, -1.0) == 1.0


def test_levels_spend_alpha() -> None:
    """All looks together spend α, however many there are."""
    spent = sum(level_at_look(0.05, look) for look in range(1, 100_000))
    assert 0.0499 < spent < 0.05
    with pytest.raises(ValueError, match="from 1"):
        level_at_look(0.05, 0)


def test_looking_often_does_not_err_often() -> None:
    """A model as good as its reference is called worse at any of 200 looks in at most α of its lives."""
    generator = np.random.default_rng(11)
    lives, wrong = 1_000, 0
    for _ in range(lives):
        right = generator.binomial(50, 0.9, 200).cumsum()
        wrong += any(
            shortfall_p_value(int(right[look - 1]), 50 * look, 0.9) <= level_at_look(0.05, look)
            for look in range(1, 201, 7)
        )
    assert wrong / lives <= 0.05
