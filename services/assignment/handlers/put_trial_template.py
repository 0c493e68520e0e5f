"""Say how a model's challengers are tried."""

from services.assignment.domain.model_record import ModelRecord, TrialTemplate
from services.assignment.handlers.open_trial import open_trial
from services.assignment.handlers.reading import record_of
from services.assignment.ports import Desk


async def put_trial_template(desk: Desk, model: str, template: TrialTemplate) -> ModelRecord:
    """Keep the template; a challenger that waits for it gets its trial now. Raises Refused, Conflict.

    A trial that runs keeps what it was started with.
    """
    template.check()
    record = (await record_of(desk.store, model)).with_template(template)
    await desk.store.save_model(record)
    await open_trial(desk, model)
    return record
