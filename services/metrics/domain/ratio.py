"""The sample-ratio test over an experiment's periods.

A period has constant weights and lies within one ramp stage. Bayes factors of periods multiply, so their
logarithms add; the p-value is of all of them together.

Clients hear of new weights when they next ask, and events lag: a period with new weights is tested from a
minute of event time after the change on.
"""

from dataclasses import dataclass

import msgspec

from libs.statistics.sample_ratio import (
    MISMATCH_DEVIATION,
    MISMATCH_P,
    expected_shares,
    largest_deviation,
    log_bayes_factor,
    running_log_p,
)
from libs.statistics.sequences import shown_p_value
from schemas.experiments import Experiment
from schemas.results import SampleRatio
from services.metrics.domain.memory import RatioMemory, Units
from services.metrics.domain.totals import ExperimentTotals

SETTLE_MS = 60_000
"""How long clients may take to follow new weights."""


@dataclass(frozen=True, slots=True)
class RatioFinding:
    """The test as it is published (None: nothing to test), and what to remember."""

    sample_ratio: SampleRatio | None
    memory: RatioMemory


def check_ratio(
    experiment: Experiment, totals: ExperimentTotals, before: RatioMemory | None, now_ms: int, grace_ms: int
) -> RatioFinding:
    """Test the split of the units that came in this period, joined with earlier periods.

    An event from the future does not end the time for clients to follow: `now_ms` caps it. Units count as met
    at these weights from `grace_ms` after they changed on.
    """
    weights = {each.key: each.weight for each in experiment.variants}
    memory = before or _first_period(experiment, weights)
    if (memory.weights, memory.stage) != (weights, experiment.stage):
        memory = _next_period(memory, weights, experiment, totals)
    event_ms = min(totals.latest_ms, now_ms)
    if event_ms < memory.weights_since_ms + grace_ms:
        memory = msgspec.structs.replace(memory, units_at_weights=_units(totals))
    if event_ms < memory.settles_at_ms:
        memory = msgspec.structs.replace(memory, units_before=_units(totals))
    observed, shares = _since(totals, memory.units_before), expected_shares(weights)
    log_bf = memory.log_bayes_factor_before + log_bayes_factor(observed, shares)
    memory = msgspec.structs.replace(memory, log_p=running_log_p(memory.log_p, log_bf))
    if len(shares) < 2:
        return RatioFinding(None, memory)
    p_value = shown_p_value(memory.log_p)
    tested = {key: observed.get(key, 0) for key in shares}
    off = largest_deviation(tested, shares) > MISMATCH_DEVIATION
    ratio = SampleRatio(
        p_value=p_value,
        mismatch=p_value < MISMATCH_P and off,
        expected=shares,
        observed=tested,
        periods=memory.periods,
    )
    return RatioFinding(ratio, memory)


def _since(totals: ExperimentTotals, units_before: Units) -> Units:
    return {key: max(0, each.units - units_before.get(key, 0)) for key, each in totals.variants.items()}


def _units(totals: ExperimentTotals) -> Units:
    return {key: each.units for key, each in totals.variants.items()}


def _first_period(experiment: Experiment, weights: dict[str, float]) -> RatioMemory:
    """A judge that comes late does not know since when these are the weights: since the last change, then."""
    since_ms = 0 if experiment.revision == 1 else experiment.updated_at_ms
    return RatioMemory(weights, {}, stage=experiment.stage, weights_since_ms=since_ms)


def _next_period(
    memory: RatioMemory, weights: dict[str, float], experiment: Experiment, totals: ExperimentTotals
) -> RatioMemory:
    ended = log_bayes_factor(_since(totals, memory.units_before), expected_shares(memory.weights))
    units = _units(totals)
    same = memory.weights == weights
    return RatioMemory(
        weights=weights,
        units_before=units,
        log_bayes_factor_before=memory.log_bayes_factor_before + ended,
        log_p=memory.log_p,
        stage=experiment.stage,
        periods=memory.periods + 1,
        units_at_weights=memory.units_at_weights if same else units,
        settles_at_ms=memory.settles_at_ms if same else experiment.updated_at_ms + SETTLE_MS,
        reweighted=memory.reweighted or (not same and any(units.values())),
        weights_since_ms=memory.weights_since_ms if same else experiment.updated_at_ms,
    )
