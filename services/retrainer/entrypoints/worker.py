"""What the Faust worker's agents do with a record: decode it, and make one call of a handler."""

import logging
from dataclasses import dataclass

from libs.common.bus.control import handling
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.ports import Record
from libs.common.clock import Clock
from libs.common.errors import Conflict, Misconfigured, Poison, Refused, Retryable
from schemas.decode import Malformed, decode
from schemas.event import Contract
from schemas.experiments import Experiment, Rollback
from schemas.health import Degradation
from schemas.versions import Registration, Retraining, RetrainingCause, RetrainingState
from services.retrainer.handlers.answer_request import AnswerRequest
from services.retrainer.handlers.follow_trials import FollowTrials
from services.retrainer.handlers.register_version import RegisterVersion

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hearing:
    """Decodes and hands over; buries what cannot be handled. One for each topic."""

    answer: AnswerRequest
    register: RegisterVersion
    trials: FollowTrials
    dead_letters: DeadLetters
    clock: Clock

    async def __call__(self, record: Record) -> None:
        """Handle one record. Raises Retryable when it must be handled again, LineStopped past the limit of
        dead letters."""
        if record.value is None:
            return
        with handling(record):
            try:
                await self._hear(decode(record.topic, record.value, self.clock.now_ms()))
            except (Retryable, Misconfigured):
                raise
            except Conflict as error:
                raise Retryable(error.message) from error
            except (Malformed, Poison, Refused) as error:
                await self.dead_letters.bury(record, str(error))
            except Exception as error:
                # A defect must not hold up what comes behind this record; the limit stops the line.
                log.exception("%s-%d@%d: not handled", record.topic, record.partition, record.offset)
                await self.dead_letters.bury(record, f"{type(error).__name__}: {error}")
            else:
                self.dead_letters.passed(1)

    async def _hear(self, event: Contract) -> None:
        match event:
            case Degradation():
                await self.answer.degradation(event)
            case Retraining(state=RetrainingState.REQUESTED, cause=RetrainingCause.REQUEST):
                await self.answer(event)
            case Registration():
                await self.register.queue(event)
            case Experiment():
                await self.trials.experiment(event)
            case Rollback():
                await self.trials.rollback(event)
            case _:
                return  # our own words on `retraining`
