"""Give the variants of an experiment that remembers its units new weights."""

from libs.common.errors import Refused
from schemas.experiments import Experiment
from services.assignment.domain.change import Change, Order
from services.assignment.domain.life import Note, Verb, change
from services.assignment.handlers.reading import experiment_of
from services.assignment.ports import Desk


async def reallocate(desk: Desk, order: Order) -> Experiment:
    """Set the weights to the order's, which name every variant; the coverage stays, and so does everybody
    who was exposed. Raises NotFound, Conflict, and Refused when it remembers no units (they would be moved),
    does not run, or the weights do not fit its variants."""
    experiment = await experiment_of(desk.store, order.experiment_id)
    if not experiment.keeps_units:
        raise Refused(
            f"{experiment.experiment_id} does not remember its units: other weights would move them",
            field="weights",
            next_step="create a sticky experiment or a bandit, or end this one and create another",
        )
    if set(order.weights) != {each.key for each in experiment.variants} or not all(order.weights.values()):
        raise Refused("every variant needs a positive weight, and no other", field="weights")
    after = change(experiment, Verb.REALLOCATE, Note(order.by, order.reason, desk.clock.now_ms()))
    variants = tuple(
        each.model_copy(update={"weight": order.weights[each.key]}) for each in experiment.variants
    )
    after = after.model_copy(update={"variants": variants})
    await desk.store.save([Change(after, verdict_id=order.verdict_id)])
    return after
