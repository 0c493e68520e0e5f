"""Create an experiment, and start it at once where that is wanted."""

from collections.abc import Sequence

from libs.common.errors import Conflict, Refused
from schemas.experiments import Experiment, ExperimentDefinition
from services.assignment.domain.change import Change
from services.assignment.domain.definitions import check_definition
from services.assignment.domain.life import Note, draft
from services.assignment.handlers.checked import save_checked
from services.assignment.handlers.start import started
from services.assignment.ports import Desk


async def create(desk: Desk, definition: ExperimentDefinition, *, by: str, start: bool = False) -> Experiment:
    """Give a definition its life. Raises Refused for one that cannot be run, Conflict for an id in use.

    With `start`, both happen or neither.
    """
    check_definition(definition)

    async def prepare() -> Sequence[Change]:
        await _check_name(desk, definition.experiment_id)
        note = Note(by, "created", desk.clock.now_ms())
        first = Change(draft(definition, note))
        if not start:
            return [first]
        return [first, await started(desk, first.experiment, Note(by, "started", note.now_ms))]

    return (await save_checked(desk, prepare))[-1].experiment


async def _check_name(desk: Desk, experiment_id: str) -> None:
    if await desk.store.find(experiment_id) is not None:
        raise Conflict(f"experiment {experiment_id} exists", next_step="choose another id")
    if await desk.store.find_model(experiment_id) is not None:
        raise Refused(
            f"{experiment_id} is the name of a model: it could not be asked for any more",
            field="experiment_id",
        )
