"""False rollbacks by the judge's own rule where counts are small: the exact test first, then the sequence.

Two tests in a row could err together more often than either: here is how often they do. Every look goes
through `evidence_on`; counts are drawn with numpy, seeded. As in `test_false_rollbacks` the upper 99 %
confidence bound of the rate must lie below alpha.
"""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta

from libs.statistics.comparisons import Answer
from libs.statistics.sums import MICRO, Sums
from schemas.experiments import Direction, Experiment, ExperimentState, Metric, Policy, Variant
from services.metrics.domain.always_valid import evidence_on
from services.metrics.domain.matters import Matter
from services.metrics.domain.questions import question

RUNS = 1_000
LOOKS = 30
HARMFUL = 100


def subject(direction: Direction) -> Experiment:
    """Return an experiment with one guardrail."""
    return Experiment(
        experiment_id="x",
        variants=(Variant(key="a"), Variant(key="b")),
        control="a",
        metrics=(Metric(name="m", conversion="c", direction=direction),),
        policy=Policy(),
        state=ExperimentState.RUNNING,
        revision=1,
        stage_started_at_ms=0,
        created_at_ms=0,
        updated_at_ms=0,
        changed_by="test",
        reason="test",
    )


def counts(chance: np.random.Generator, rate: float, units: NDArray[np.int64]) -> list[Sums]:
    """Return one variant's sums at every look."""
    converted = np.cumsum(chance.binomial(np.diff(units, prepend=0), rate)).tolist()
    return [Sums(n, k, k * MICRO, k * MICRO**2) for n, k in zip(units.tolist(), converted, strict=True)]


def rolled_back(experiment: Experiment, share: float, control: list[Sums], treatment: list[Sums]) -> bool:
    """Return whether any look sees a breach, as the judge defines it."""
    metric = experiment.metrics[0]
    asked = question(experiment, metric)
    for base, one in zip(control, treatment, strict=True):
        matter = Matter(
            one, base, metric, experiment.policy, asked, ({}, {}), None, share, one.units + base.units, None
        )
        found = evidence_on(matter).answer
        if isinstance(found, Answer) and found.harmful and found.worse_than_margin:
            return True
    return False


def alarms(experiment: Experiment, share: float, rates: tuple[float, float], runs: int) -> int:
    """Return in how many runs the treatment is rolled back within 20,000 units."""
    chance = np.random.default_rng(20_240_005)
    total = np.geomspace(100 / min(share, 1.0 - share), 20_000, LOOKS)
    base, one = (np.floor(total * part + 1e-6).astype(np.int64) for part in (1.0 - share, share))
    return sum(
        rolled_back(experiment, share, counts(chance, rates[0], base), counts(chance, rates[1], one))
        for _ in range(runs)
    )


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(("rate", "share"), [(0.002, 0.5), (0.01, 0.5), (0.01, 0.1), (0.05, 0.1)])
def test_false_rollbacks_stay_below_alpha(direction: Direction, rate: float, share: float) -> None:
    """Whichever direction is the good one, with halves and with a tenth of the traffic."""
    found = alarms(subject(direction), share, (rate, rate), RUNS)
    assert float(beta.ppf(0.99, found + 1, RUNS - found)) <= 0.05, f"{found} of {RUNS}"


def test_errors_that_double_are_found() -> None:
    """From 1 % to 2 % of units, found in nearly every run within 20,000 units."""
    assert alarms(subject(Direction.DECREASE), 0.5, (0.01, 0.02), HARMFUL) >= 0.95 * HARMFUL
