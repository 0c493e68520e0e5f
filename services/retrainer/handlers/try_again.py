"""Try again, after the cooldown and up to a limit, what a degradation asked for and came to nothing."""

from schemas.health import Severity
from services.retrainer.domain import alerts
from services.retrainer.domain.rules import Rules, in_words, until_in_words
from services.retrainer.domain.runs import Run, clipped, retraining_id, retry_of
from services.retrainer.ports import Transaction


async def try_again(transaction: Transaction, ended: Run, rules: Rules, now_ms: int) -> str:
    """Keep the next retraining for the degradation that `ended` was for, and return in words what follows.

    Nothing follows ("") where there was no degradation, or another champion came into charge. At the limit
    people are told by an alert of its own instead. `ended` must be saved before: one at a time per model.

    A retraining that ended in a challenger is done, also when that is rolled back in its trial: then the
    rollback's own alert tells people, and the next degradation or a request asks for another retraining.
    """
    degradation_id = ended.event.cause_id
    original = await transaction.run(retraining_id(degradation_id)) if degradation_id else None
    if degradation_id is None or original is None:
        return ""
    model = await transaction.model()
    if original.outlived_by(model.champion.version if model and model.champion else None):
        return ""
    for number in range(1, rules.max_retries + 1):
        if await transaction.run(retraining_id(degradation_id, number)) is None:
            await _keep(transaction, original, number, rules, now_ms)
            return f"tried again in {in_words(rules.cooldown_ms)} (retry {number} of {rules.max_retries})"
    await _give_up(transaction, ended, rules, now_ms)
    return "not tried again"


async def _keep(transaction: Transaction, original: Run, number: int, rules: Rules, now_ms: int) -> None:
    due_at_ms = now_ms + rules.cooldown_ms
    until = until_in_words(due_at_ms, now_ms)
    reason = f"{original.why}; retry {number} of {rules.max_retries}, waits for {until}"
    run = retry_of(original, number, reason=clipped(reason), now_ms=now_ms, due_at_ms=due_at_ms)
    await transaction.save_run(run)
    await transaction.publish("retraining", run.event)


async def _give_up(transaction: Transaction, ended: Run, rules: Rules, now_ms: int) -> None:
    detail = (
        f"all {rules.max_retries + 1} retrainings for degradation {ended.event.cause_id} came to nothing, "
        f"the last: {ended.state.value}: {ended.event.reason}; look at its reason, then ask for a retraining "
        "or register a better version as champion"
    )
    problem = alerts.Problem(alerts.GIVEN_UP, Severity.HIGH, detail)
    open_alert = await transaction.open_alert(alerts.GIVEN_UP)
    await transaction.save_alert(alerts.raised(problem, ended.model, open_alert, now_ms))
