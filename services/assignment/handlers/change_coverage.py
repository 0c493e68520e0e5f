"""Change by hand how many units take part: more moves nobody, less says what becomes of exposed units."""

from libs.common.errors import Refused
from schemas.experiments import Experiment, ExperimentState
from services.assignment.domain.change import Change, CoverageTarget, Order
from services.assignment.domain.coverage import (
    ExposedUnits,
    coverage_at,
    follows_ramp,
    last_stage,
    lost_share,
)
from services.assignment.domain.life import Note, Verb, change
from services.assignment.handlers.reading import experiment_of
from services.assignment.ports import Desk


async def change_coverage(desk: Desk, order: Order) -> Experiment:
    """Set stage or coverage to the order's target. Raises NotFound, Conflict, and Refused when it is not
    live, the target does not fit it, or it is lowered without a word on exposed units.

    Units that were exposed count for ever as they were first exposed: intention to treat.
    """
    experiment = await experiment_of(desk.store, order.experiment_id)
    note = Note(order.by, order.reason, desk.clock.now_ms())
    after = change(experiment, Verb.CHANGE_COVERAGE, note)
    target = order.target or CoverageTarget()
    stage, coverage = _place(experiment, target)
    if (stage, coverage) == (experiment.stage, experiment.coverage):
        raise Refused(
            f"{experiment.experiment_id} is at stage {stage} with a coverage of {coverage} already",
            field="stage" if follows_ramp(experiment) else "coverage",
        )
    updates = {"stage": stage, "coverage": coverage, "stage_started_at_ms": note.now_ms}
    after = after.model_copy(update=updates)
    if coverage < experiment.coverage:
        _check_exposed_units(experiment, after, target.exposed_units)
    if coverage < experiment.coverage and target.exposed_units is ExposedUnits.TO_CONTROL:
        after = after.model_copy(update={"remembers_since": after.revision})
    await desk.store.save([Change(after)])
    return after


def _place(experiment: Experiment, target: CoverageTarget) -> tuple[int, float]:
    """Return the stage and the coverage that are wanted. Raises Refused."""
    if not follows_ramp(experiment):
        if target.coverage is None or target.stage is not None:
            raise Refused(
                f"{experiment.experiment_id} has no ramp",
                field="coverage",
                next_step="name a coverage, 0 to 1",
            )
        return experiment.stage, target.coverage
    last = last_stage(experiment)
    if target.stage is None or target.coverage is not None or not 0 <= target.stage <= last:
        raise Refused(
            f"the ramp of {experiment.experiment_id} sets its coverage",
            field="stage",
            next_step=f"name a stage, 0 to {last}",
        )
    return target.stage, coverage_at(experiment, target.stage)


def _check_exposed_units(before: Experiment, after: Experiment, wanted: ExposedUnits | None) -> None:
    """Raise Refused unless it is said what becomes of units that were exposed, and can be done."""
    if wanted is ExposedUnits.TO_CONTROL or (wanted is ExposedUnits.KEEP and before.keeps_units):
        return
    if wanted is ExposedUnits.KEEP:
        raise Refused(
            f"{before.experiment_id} does not remember its units: they cannot keep their variant",
            field="exposed_units",
            next_step='say "to_control"; only sticky experiments and bandits remember units',
        )
    forgetful = after.model_copy(update={"remembers_since": after.revision, "state": ExperimentState.RUNNING})
    share = lost_share(before.model_copy(update={"state": ExperimentState.RUNNING}), forgetful)
    raise Refused(
        f"a coverage of {after.coverage} instead of {before.coverage} leaves {share:.2%} of all units "
        "without the variant that they have",
        field="exposed_units",
        next_step='say what becomes of them: "to_control"' + (' or "keep"' if before.keeps_units else ""),
    )
