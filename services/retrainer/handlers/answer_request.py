"""Answer a degradation or a request to retrain: accept, refuse or plan."""

from dataclasses import dataclass

from libs.common.clock import Clock
from schemas.health import Degradation
from schemas.versions import Retraining, RetrainingCause, RetrainingState
from services.retrainer.domain.rules import Rules, Situation, decide
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
            answer = decide(request, await _situation(transaction, now_ms), self.rules)
            update = {
                "state": answer.state,
                "reason": clipped(answer.reason),
                "occurred_at_ms": now_ms,
            }
            event = request.model_copy(update=update)
            await transaction.save_run(Run(event, created_at_ms=now_ms, why=request.reason, due_at_ms=now_ms))
            accepted = answer.state is RetrainingState.REQUESTED
            # A person's request that is accepted stands on the topic already, in the gateway's words.
            if not (accepted and request.cause is RetrainingCause.REQUEST):
                await transaction.publish("retraining", event)


async def _situation(transaction: Transaction, now_ms: int) -> Situation:
    model = await transaction.model()
    return Situation(
        now_ms=now_ms,
        open_run=await transaction.open_run(),
        last_trained_at_ms=await transaction.last_trained_at_ms(),
        champion=model.champion.version if model and model.champion else None,
    )
