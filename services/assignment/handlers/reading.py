"""What every handler reads first."""

from libs.common.errors import NotFound
from schemas.experiments import Experiment
from services.assignment.domain.model_record import ModelRecord
from services.assignment.ports import Store


async def experiment_of(store: Store, experiment_id: str) -> Experiment:
    """Return an experiment as it stands. Raises NotFound."""
    experiment = await store.find(experiment_id)
    if experiment is None:
        raise NotFound(
            f"there is no experiment {experiment_id}",
            field="experiment_id",
            next_step="GET /v1/experiments lists those there are",
        )
    return experiment


async def record_of(store: Store, model: str) -> ModelRecord:
    """Return what is known of a model; an empty record when nothing is."""
    return await store.find_model(model) or ModelRecord(model=model)
