"""The sample-ratio test over an experiment's periods of constant weights, and units where none may be."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.statistics.sample_ratio import (
    MISMATCH_DEVIATION,
    MISMATCH_P,
    expected_shares,
    largest_deviation,
    log_bayes_factor,
)
from libs.statistics.sequences import shown_p_value
from schemas.experiments import Experiment
from schemas.results import SampleRatio
from services.metrics.domain.memory import RatioMemory, Units
from services.metrics.domain.totals import ExperimentTotals


@dataclass(frozen=True, slots=True)
class RatioFinding:
    """The test as it is published (None: nothing to test), leaks, and what to remember."""

    sample_ratio: SampleRatio | None
    leaks: tuple[str, ...]
    """Variants that got units in this period though their weight is 0, or that do not exist."""
    memory: RatioMemory


def check_ratio(experiment: Experiment, totals: ExperimentTotals, before: RatioMemory | None) -> RatioFinding:
    """Test the split of the units that came since the weights last changed, joined with earlier periods."""
    weights = {each.key: each.weight for each in experiment.variants}
    memory = before or RatioMemory(weights, {})
    if memory.weights != weights:
        memory = _next_period(memory, weights, totals)
    observed = _since(totals, memory.units_before)
    shares = expected_shares(weights)
    log_bf = memory.log_bayes_factor_before + log_bayes_factor(observed, shares)
    memory = RatioMemory(
        weights, memory.units_before, memory.log_bayes_factor_before, min(memory.log_p, -max(log_bf, 0.0))
    )
    if len(shares) < 2:
        return RatioFinding(None, _leaks(totals, observed, weights), memory)
    p_value = shown_p_value(memory.log_p)
    tested = {key: observed.get(key, 0) for key in shares}
    off = largest_deviation(tested, shares) > MISMATCH_DEVIATION
    found = SampleRatio(
        p_value=p_value, mismatch=p_value < MISMATCH_P and off, expected=shares, observed=tested
    )
    return RatioFinding(found, _leaks(totals, observed, weights), memory)


def _since(totals: ExperimentTotals, units_before: Units) -> Units:
    return {key: max(0, each.units - units_before.get(key, 0)) for key, each in totals.variants.items()}


def _next_period(memory: RatioMemory, weights: dict[str, float], totals: ExperimentTotals) -> RatioMemory:
    ended = log_bayes_factor(_since(totals, memory.units_before), expected_shares(memory.weights))
    units = {key: each.units for key, each in totals.variants.items()}
    return RatioMemory(weights, units, memory.log_bayes_factor_before + ended, memory.log_p)


def _leaks(totals: ExperimentTotals, observed: Units, weights: Mapping[str, float]) -> tuple[str, ...]:
    unknown = [key for key, each in totals.variants.items() if key not in weights and each.exposures > 0]
    empty = [key for key, weight in weights.items() if weight <= 0 and observed.get(key, 0) > 0]
    return tuple(sorted([*unknown, *empty]))
