"""How far a ramp stage has come: event time, and units that are new in it."""

from dataclasses import dataclass

from schemas.experiments import Experiment, RampStage
from services.metrics.domain.memory import StageMemory
from services.metrics.domain.totals import ExperimentTotals


@dataclass(frozen=True, slots=True)
class StageProgress:
    """The stage that an experiment is in; None for `stage` when its policy has no such stage."""

    stage: RampStage | None
    is_last: bool
    elapsed_ms: int
    """Event time since the stage began. An event from the future does not count beyond now."""
    fewest_new_units: int
    """New units in this stage of the variant with the fewest, among those with traffic."""


def remember_stage(
    experiment: Experiment, totals: ExperimentTotals, before: StageMemory | None
) -> StageMemory:
    """Return the stage's memory: made anew when a stage begins.

    Units count as new from the first judgement in the stage on, and the first stage starts from none: when
    the judge was away, fewer units count, never more.
    """
    place = (experiment.stage, experiment.stage_started_at_ms)
    if before is not None and (before.stage, before.started_at_ms) == place:
        return before
    first = before is None and experiment.stage == 0
    units = {} if first else {key: each.units for key, each in totals.variants.items()}
    return StageMemory(*place, units)


def stage_progress(
    experiment: Experiment, totals: ExperimentTotals, memory: StageMemory, now_ms: int
) -> StageProgress:
    """Return how far the experiment's stage has come."""
    ramp = experiment.policy.ramp
    known = experiment.stage < len(ramp)
    new_units = [
        max(0, totals.units(each.key) - memory.units_before.get(each.key, 0))
        for each in experiment.variants
        if each.weight > 0
    ]
    return StageProgress(
        stage=ramp[experiment.stage] if known else None,
        is_last=experiment.stage == len(ramp) - 1,
        elapsed_ms=max(0, min(totals.latest_ms, now_ms) - experiment.stage_started_at_ms),
        fewest_new_units=min(new_units),
    )
