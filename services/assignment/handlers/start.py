"""Start an experiment: from now on units may meet its variants."""

from collections.abc import Sequence

from libs.common.errors import Conflict, Refused
from schemas.experiments import Experiment, ExperimentKind
from services.assignment.domain.change import Change, Order
from services.assignment.domain.life import Note, Verb, change
from services.assignment.domain.model_record import LIFT, ModelRecord
from services.assignment.domain.neighbours import check_neighbours
from services.assignment.handlers.checked import save_checked
from services.assignment.handlers.reading import experiment_of, record_of
from services.assignment.ports import MAX_LIVE, Desk


async def start(desk: Desk, order: Order) -> Experiment:
    """Start a draft. Raises Refused when it may not run, Conflict while its model has another live trial."""

    async def prepare() -> Sequence[Change]:
        experiment = await experiment_of(desk.store, order.experiment_id)
        return [await started(desk, experiment, Note(order.by, order.reason, desk.clock.now_ms()))]

    return (await save_checked(desk, prepare))[-1].experiment


async def started(desk: Desk, experiment: Experiment, note: Note) -> Change:
    """Return the change that starts a draft, after every check; nothing is saved. Raises as `start` does.

    To be called within `save_checked`: another start may be on its way.
    """
    after = change(experiment, Verb.START, note)
    if await desk.store.live_count() >= MAX_LIVE:
        raise Refused(f"{MAX_LIVE} experiments are live, which is the limit", next_step="end one first")
    if experiment.exclusion is not None or experiment.holdout is not None:
        check_neighbours(experiment, await desk.store.live())
    if experiment.model is None:
        return Change(after)
    record = await record_of(desk.store, experiment.model)
    _check_quarantine(experiment, record)
    if experiment.kind is not ExperimentKind.CHAMPION_CHALLENGER:
        return Change(after)
    live = await desk.store.live_trial(experiment.model)
    if live is not None:
        raise Conflict(
            f"{experiment.model} is in a live trial: {live.experiment_id}",
            next_step="wait until it has ended, or stop it",
        )
    return Change(after, model=_with_champion(experiment, record))


def _check_quarantine(experiment: Experiment, record: ModelRecord) -> None:
    for variant in experiment.variants:
        if variant.model_version in record.quarantined:
            raise Refused(
                f"version {variant.model_version} of {record.model} was rolled back and does not serve again",
                field="variants",
                next_step=LIFT,
            )


def _with_champion(experiment: Experiment, record: ModelRecord) -> ModelRecord | None:
    """Return the record where the trial changes it: control becomes the champion of a model without one."""
    control = experiment.variant(experiment.control).model_version
    if record.serving is None and control is not None:
        return record.with_champion(control)
    if control != record.serving:
        raise Refused(
            f"control carries version {control}, but the champion of {record.model} is {record.serving}",
            field="control",
            next_step="create the experiment with the champion as control",
        )
    return None
