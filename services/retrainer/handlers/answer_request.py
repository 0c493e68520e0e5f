"""Answer a degradation or a request to retrain: accept, refuse or plan."""

from dataclasses import dataclass, replace

from libs.common.clock import Clock
from schemas.health import Degradation
from schemas.versions import Retraining, RetrainingCause, RetrainingState
from services.retrainer.domain.rules import Answer, Rules, Situation, decide
from services.retrainer.domain.runs import Run, clipped, request_of
from services.retrainer.ports import Store, Transaction


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """The handler. The same request is answered once."""

    store: Store
    clock: Clock
    rules: Rules

    async def degradation(self, degradation: Degradation) -> None:
        """Answer a degradation."""
        await self(request_of(degradation, self.clock.now_ms()))

    async def __call__(self, request: Retraining) -> None:
        """Answer a request; the answer is on the bus when this is committed."""
        async with self.store.transaction(request.model) as transaction:
            if not await transaction.first_time("retraining", request.retraining_id):
                return
            now_ms = self.clock.now_ms()
            situation = await _situation(transaction, now_ms)
            answer = decide(request, situation, self.rules)
            request, answer = await _meet(transaction, request, answer, situation)
            update = {
                "state": answer.state,
                "reason": clipped(answer.reason),
                "occurred_at_ms": now_ms,
            }
            event = request.model_copy(update=update)
            due_at_ms = answer.due_at_ms
            await transaction.save_run(
                Run(event, due_at_ms, request.reason, due_at_ms, champion=situation.champion)
            )
            accepted = answer.state is RetrainingState.REQUESTED
            # A person's request that is accepted stands on the topic already, in the gateway's words.
            if not (accepted and request.cause is RetrainingCause.REQUEST):
                await transaction.publish("retraining", event)


async def _meet(
    transaction: Transaction, request: Retraining, answer: Answer, situation: Situation
) -> tuple[Retraining, Answer]:
    """Settle with the retraining that is there already, if any, so that no degradation is lost.

    What takes the place of one that waits stands for its degradation; a person's that is under way stands for
    the one that it keeps out. Returns request and answer as they are then.
    """
    open_run = situation.open_run
    if open_run is None:
        return request, answer
    cause_id = open_run.event.cause_id
    if answer.state is RetrainingState.REQUESTED:
        reason = f"it had not begun, and retraining {request.retraining_id} takes its place"
        replaced = open_run.moved(RetrainingState.REFUSED, reason, situation.now_ms)
        await transaction.save_run(replaced)
        await transaction.publish("retraining", replaced.event)
        return request.model_copy(update={"cause_id": request.cause_id or cause_id}), answer
    refused = answer.state is RetrainingState.REFUSED
    if refused and request.cause is RetrainingCause.DEGRADATION and cause_id is None:
        await transaction.save_run(open_run.for_cause(request.cause_id))
        return request, replace(answer, reason=f"{answer.reason}; this is tried if that comes to nothing")
    return request, answer


async def _situation(transaction: Transaction, now_ms: int) -> Situation:
    model = await transaction.model()
    return Situation(
        now_ms=now_ms,
        open_run=await transaction.open_run(),
        last_trained_at_ms=await transaction.last_trained_at_ms(),
        champion=model.champion.version if model and model.champion else None,
    )
