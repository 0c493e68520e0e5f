"""Say which units get a variant by name, for testing: they do not count."""

from libs.common.errors import Refused
from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order
from services.assignment.domain.definitions import check_definition
from services.assignment.domain.life import Note, Verb, change
from services.assignment.handlers.reading import experiment_of
from services.assignment.ports import Desk


async def force_units(desk: Desk, order: Order) -> Experiment:
    """Put the order's forced units in the place of those before. Raises NotFound, Conflict, and Refused when
    it has ended, a unit occurs twice, or a variant does not exist.

    A unit that took part before counts on as it was first exposed.
    """
    experiment = await experiment_of(desk.store, order.experiment_id)
    after = change(experiment, Verb.FORCE, Note(order.by, order.reason, desk.clock.now_ms()))
    keys = {each.key for each in experiment.variants}
    if any(each.variant not in keys for each in order.forced):
        raise Refused(
            f"{experiment.experiment_id} has no such variant",
            field="forced",
            next_step=f"its variants: {', '.join(sorted(keys))}",
        )
    if len({each.unit_id for each in order.forced}) != len(order.forced):
        raise Refused("every unit may occur once", field="forced")
    after = after.model_copy(update={"forced": order.forced})
    check_definition(after)
    await desk.store.save([Change(after)])
    return after
