"""Promote a variant: what it carries serves everybody from now on."""

from libs.common.errors import Refused
from schemas.experiments import Experiment, ExperimentKind, Variant
from services.assignment.domain.change import Change, Order, challengers
from services.assignment.domain.life import Note, Verb, change
from services.assignment.domain.model_record import ModelRecord
from services.assignment.handlers.keep_trial import after_end
from services.assignment.handlers.reading import experiment_of, record_of
from services.assignment.ports import Desk


async def promote(desk: Desk, order: Order) -> Experiment:
    """Promote. Raises NotFound, Conflict, and Refused when it is not live, the variant is not one that can
    win, or its version was rolled back.

    The promoted version serves as the model's champion at once, before `models` confirms it.
    """
    experiment = await experiment_of(desk.store, order.experiment_id)
    winner = _winner(experiment, order.variant)
    note = Note(order.by, order.reason, desk.clock.now_ms())
    after = change(experiment, Verb.PROMOTE, note).model_copy(update={"promoted_variant": winner.key})
    record: ModelRecord | None = None
    if experiment.kind is ExperimentKind.CHAMPION_CHALLENGER and experiment.model and winner.model_version:
        record = (await record_of(desk.store, experiment.model)).promote(winner.model_version)
    await desk.store.save([Change(after, verdict_id=order.verdict_id, model=record)])
    await after_end(desk, after)
    return after


def _winner(experiment: Experiment, key: str | None) -> Variant:
    candidates = challengers(experiment)
    if key is None and len(candidates) == 1:
        return candidates[0]
    for variant in candidates:
        if variant.key == key:
            return variant
    names = ", ".join(variant.key for variant in candidates)
    raise Refused(
        f"{key!r} cannot be promoted" if key else "several variants could be promoted",
        field="variant",
        next_step=f"name one of: {names}",
    )
