"""Create an experiment, and start it at once where that is wanted."""

from libs.common.errors import Conflict, Refused
from schemas.experiments import Experiment, ExperimentDefinition
from services.assignment.domain.change import Change
from services.assignment.domain.definitions import check_definition
from services.assignment.domain.life import Note, draft
from services.assignment.handlers.start import started
from services.assignment.ports import Desk


async def create(desk: Desk, definition: ExperimentDefinition, *, by: str, start: bool = False) -> Experiment:
    """Give a definition its life. Raises Refused for one that cannot be run, Conflict for an id in use.

    With `start`, both happen or neither.
    """
    check_definition(definition)
    if await desk.store.find(definition.experiment_id) is not None:
        raise Conflict(f"experiment {definition.experiment_id} exists", next_step="choose another id")
    if await desk.store.find_model(definition.experiment_id) is not None:
        raise Refused(
            f"{definition.experiment_id} is the name of a model: it could not be asked for any more",
            field="experiment_id",
        )
    note = Note(by, "created", desk.clock.now_ms())
    changes = [Change(draft(definition, note))]
    if start:
        changes.append(await started(desk, changes[0].experiment, Note(by, "started", note.now_ms)))
    await desk.store.save(changes)
    return changes[-1].experiment
