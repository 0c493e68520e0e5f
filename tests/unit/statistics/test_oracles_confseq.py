"""confseq 0.0.11 (Howard, Ramdas and others), from frozen answers (`tests/oracles/confseq_cases.py`).

* Normal mixture, two-sided: our sequence at variance 1 is its bound over v, and ln of the e-value is equal,
  to nine digits. One-sided they differ: confseq's is the exact mixture over half a normal, ours the closed
  form of Waudby-Smith and others. Both are valid.
* Beta-binomial mixture: the same martingale, to eight digits. confseq tunes its prior to a strength one trial
  weaker than ours (r = rho - p (1 - p)); here ours is given theirs.
* Intervals of a rate: confseq's is tuned to a sample size and holds for any values in [0, 1]; ours mixes the
  likelihood under Beta(1/2, 1/2), is tuned to none and holds for 0 and 1 alone. On these cases it is between
  6 % narrower (1 of 200) and 23 % wider (2,500 of 5,000). Both are valid.
"""

import json
import math
from pathlib import Path
from typing import TypedDict

import pytest

from libs.statistics.binomial_mixtures import Mixture, Side
from libs.statistics.proportions import rate_interval
from libs.statistics.sequences import Tuning, log_p_value, two_sided_radius

FROZEN = json.loads((Path(__file__).parents[2] / "oracles" / "confseq.json").read_text())


class Normal(TypedDict):
    """A bound of the sum after v units of variance 1, and ln E of a sum of 3.5 standard errors."""

    v: float
    alpha: float
    tuned: float
    bound: float
    log_e: float


class Binomial(TypedDict):
    """ln E of k hits in n trials against p."""

    p: float
    n: int
    k: int
    tuned: float
    either: float
    more: float


class Rate(TypedDict):
    """An interval of a rate."""

    n: int
    k: int
    lower: float
    upper: float


NORMAL: list[Normal] = FROZEN["normal"]
BINOMIAL: list[Binomial] = FROZEN["binomial"]
RATES: list[Rate] = FROZEN["rates"]


@pytest.mark.parametrize("case", NORMAL, ids=str)
def test_the_normal_mixture_is_the_same(case: Normal) -> None:
    """The mean's radius is the sum's bound over the number of units; and so is the evidence."""
    units, tuning = int(case["v"]), Tuning(case["alpha"], int(case["tuned"]))
    assert two_sided_radius(1.0 / units, units, tuning) == pytest.approx(case["bound"] / units, rel=1e-9)
    log_p = log_p_value(3.5 / math.sqrt(units), 1.0 / units, units, tuning)
    assert log_p == pytest.approx(min(0.0, -case["log_e"]), rel=1e-9)


@pytest.mark.parametrize("case", BINOMIAL, ids=str)
def test_the_beta_binomial_mixture_is_the_same(case: Binomial) -> None:
    """Two-sided and one-sided, far out too, where the prior is as strong as theirs."""
    n, k = case["n"], case["k"]
    either, more = (
        Mixture(case["p"], 1.0 / Tuning(level, int(case["tuned"])).rho_squared - 1.0)
        for level in (0.05, 0.10)
    )
    assert either.log_e(k, n) == pytest.approx(case["either"], rel=1e-8, abs=1e-8)
    assert more.log_e(k, n, Side.MORE) == pytest.approx(case["more"], rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("case", RATES, ids=str)
def test_intervals_of_a_rate_are_alike(case: Rate) -> None:
    """Never wider by more than a quarter, and not apart from theirs."""
    lower, upper = rate_interval(case["k"], case["n"], 0.05)
    assert upper - lower <= 1.25 * (case["upper"] - case["lower"])
    assert lower <= case["k"] / case["n"] <= upper
