"""The events that tell of a change, as messages for the bus."""

from libs.common.bus.control import control_message
from libs.common.bus.ports import Message
from libs.common.clock import Clock
from services.assignment.domain.change import Change

SOURCE = "assignment"


def messages_of(change: Change, clock: Clock) -> list[Message]:
    """Return the experiment's new state, and the rollback where there was one."""
    experiment_id = change.experiment.experiment_id
    found = [control_message("experiments", experiment_id, change.experiment, source=SOURCE, clock=clock)]
    if change.rollback is not None:
        found.append(control_message("rollbacks", experiment_id, change.rollback, source=SOURCE, clock=clock))
    return found
