"""Proportions at small counts: an exact test and an exact interval that may be looked at at any moment.

**The test.** If the treatment gets the share s of the units by lot and converts neither more nor less than
control, each conversion comes from the treatment with chance s, whatever came before. So the conversions
alone, k1 of k0 + k1, are tested against s by `binomial_mixtures`. In the 2x2 table this is the e-value of a
beta mixture over the odds of the two rates; unlike the blocks of Turner, Ly, Grünwald (2024, "Generic
E-variables for exact sequential k-sample tests of 2x2 tables") it needs no blocks: it is a function of sums.

What is guaranteed: under "a unit does the same in either variant", the chance that p ever falls to alpha or
below is at most alpha,

* for any share s, any order in which units of the two variants come and convert, any moments and number of
  looks, any delay between exposure and conversion, and rates that change by the hour or day;
* provided that s is the configured share and did not change while these units came. After a change of
  weights a new period begins: e-values of periods multiply, so their logarithms add. What breaks the
  split (a sample-ratio mismatch) breaks this test as well, and has its own alarm;
* the one-sided one also if the true effect is in the harmless direction, not only if it is 0.

The price: misses say nothing here, so at a rate p it is as efficient as a test with a share 1 - p of the
units. A metric that nearly everybody converts on is judged by its misses instead (`Counted.MISSES`); a unit
may be counted as a miss only when its window is over, else the guarantee above loses "any delay".

**The interval.** Per variant Robbins' (1970) exact sequence {p : mixture likelihood / p^k (1-p)^(n-k) < 1 /
alpha} under Beta(1/2, 1/2); a difference is the union of two at alpha / 2. This one takes each variant's
units as independent with one rate, and counts only units whose window is over.

**When.** At rates of a few per cent and below it needs fewer units than the normal sequence of `comparisons`,
which is silent in its burn-in and, with its floors, cautious at small counts (in simulation it is not wrong
there). Median units until harm is found at alpha 5 %, halves: from 1 % to 2 %, 3,300 against 4,400; from 1 %
to 5 %, 620 against 960; from 0.2 % to 1 %, 3,000 against 3,800; treatment a tenth, 1 % to 2 %, 8,500 against
14,800. From 20 % on the normal sequence is as fast or faster. `normal_is_safe` is the stated rule for going
over to it. Who asks both and acts on either gives each alpha / 2.
"""

import math
from dataclasses import dataclass
from enum import Enum

from scipy.optimize import brentq
from scipy.special import betaln

from libs.statistics.binomial_mixtures import Mixture, Side
from libs.statistics.differences import NotEnough
from libs.statistics.sums import Sums
from libs.statistics.tails import check_alpha

EXACT_TEST = "beta-mixture e-value on the split of the conversions, exact at every look"
EXACT_INTERVAL = "union of two beta-mixture confidence sequences at alpha / 2, exact at every look"
NORMAL_FROM_COUNT = 10
"""Conversions, and misses, that each variant is to have at the rate of both taken together."""
_PRIOR = 0.5


class Counted(Enum):
    """Which outcome is the rarer one by the metric's nature; it is chosen before the data are seen."""

    CONVERSIONS = "conversions"
    MISSES = "misses"


@dataclass(frozen=True, slots=True)
class Split:
    """How the traffic of the two variants was split, and what is looked for. Raises ValueError by field."""

    share: float = 0.5
    """The treatment's configured share of the units of both variants."""
    alpha: float = 0.05
    """Only tunes the mixture; the p-value holds at every level."""
    tuned_outcomes: int = 100
    """Conversions (or misses) of both variants at which the test is sharpest."""
    counted: Counted = Counted.CONVERSIONS

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if not 0 < self.share < 1:
            raise ValueError("share: must lie between 0 and 1, both excluded")
        if self.tuned_outcomes < 1:
            raise ValueError("tuned_outcomes: must be at least 1")


@dataclass(frozen=True, slots=True)
class ExactTest:
    """ln of the e-values; ln of a p-value at this moment is min(0, -ln E), kept as a running minimum."""

    log_e: float
    """Against "no difference"."""
    log_e_lower: float
    """Against "the treatment's rate is not lower"."""
    log_e_higher: float
    """Against "the treatment's rate is not higher"."""

    @property
    def log_p(self) -> float:
        """Return ln of the two-sided p-value."""
        return min(0.0, -self.log_e)

    def log_p_of_harm(self, *, better_when_higher: bool) -> float:
        """Return ln of the one-sided p-value of "no harm"."""
        return min(0.0, -(self.log_e_lower if better_when_higher else self.log_e_higher))


def exact_test(treatment: Sums, control: Sums, split: Split) -> ExactTest | NotEnough:
    """Return the evidence in the conversions (or misses) of two variants; from the first one on."""
    rare = split.counted is Counted.CONVERSIONS
    one, zero = (
        each.converted_units if rare else each.units - each.converted_units for each in (treatment, control)
    )
    if not one + zero:
        return NotEnough(f"no {split.counted.value} in either variant")
    mixture = Mixture.tuned_to(split.share, split.tuned_outcomes, split.alpha)
    either, fewer, more = (mixture.log_e(one, one + zero, side) for side in Side)
    return ExactTest(either, fewer, more) if rare else ExactTest(either, more, fewer)


@dataclass(frozen=True, slots=True)
class ExactInterval:
    """Treatment's minus control's rate, exact at every look."""

    estimate: float
    lower: float
    upper: float
    method: str = EXACT_INTERVAL


def rate_interval(converted: int, units: int, alpha: float = 0.05) -> tuple[float, float]:
    """Return the exact always-valid interval of one rate, (0, 1) without units."""
    check_alpha(alpha)
    if not units:
        return 0.0, 1.0
    missed = units - converted
    return _lowest_rate(converted, missed, alpha), 1.0 - _lowest_rate(missed, converted, alpha)


def _lowest_rate(hits: int, others: int, alpha: float) -> float:
    """Where the likelihood of a rate, on its way up to hits / n, first reaches alpha times the mixture's."""
    if not hits:
        return 0.0
    mixture = float(betaln(_PRIOR + hits, _PRIOR + others)) - float(betaln(_PRIOR, _PRIOR))

    def excess(log_rate: float) -> float:
        rest = others * math.log(-math.expm1(log_rate)) if others else 0.0
        return hits * log_rate + rest - mixture - math.log(alpha)

    top = math.log(hits / (hits + others))
    bottom = (mixture + math.log(alpha)) / hits - 1.0
    return math.exp(brentq(excess, bottom, top))


def difference_interval(treatment: Sums, control: Sums, alpha: float = 0.05) -> ExactInterval | NotEnough:
    """Return the always-valid interval of the difference, exact at any counts, wide at all of them."""
    check_alpha(alpha)
    if not treatment.units or not control.units:
        return NotEnough("no units in a variant")
    low1, high1 = rate_interval(treatment.converted_units, treatment.units, alpha / 2.0)
    low0, high0 = rate_interval(control.converted_units, control.units, alpha / 2.0)
    estimate = treatment.converted_units / treatment.units - control.converted_units / control.units
    return ExactInterval(estimate, low1 - high0, high1 - low0)


def normal_is_safe(treatment: Sums, control: Sums, least: int = NORMAL_FROM_COUNT) -> bool:
    """Return whether both variants have, at their common rate, `least` conversions and misses to expect."""
    both = treatment + control
    if not both.units:
        return False
    rate = both.converted_units / both.units
    return min(treatment.units, control.units) * min(rate, 1.0 - rate) >= least
