"""Lost performance against a reference that is itself an estimate."""

import numpy as np

from services.drift.domain.performance import ReferenceScore, judge_performance
from services.drift.domain.policy import JudgePolicy
from services.drift.domain.rows import Tally


def test_a_small_reference_seldom_degrades_a_steady_model() -> None:
    """With a reference of 100 labels and a steady model, at most alpha of lives are called bad."""
    generator = np.random.default_rng(7)
    policy = JudgePolicy(window_ms=1_000, lateness_ms=0, idle_ms=1_000)
    bad = 0
    for _ in range(200):
        reference = ReferenceScore(int(generator.binomial(100, 0.5)) / 100, 100)
        lived = [
            judge_performance([Tally(0, labelled=600, correct=int(each))], reference, look, policy).bad
            for look, each in enumerate(generator.binomial(600, 0.5, 10), start=1)
        ]
        bad += any(lived)
    assert bad <= 0.01 * 200


def test_a_real_loss_is_still_seen() -> None:
    """A fall by 0.3 against a reference of 100 labels is bad at the first look."""
    policy = JudgePolicy(window_ms=1_000, lateness_ms=0, idle_ms=1_000)
    tally = Tally(0, predictions=500, labelled=500, correct=200)
    assert judge_performance([tally], ReferenceScore(0.7, 100), 1, policy).bad
