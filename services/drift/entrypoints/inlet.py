"""From a raw record of `models` to the handler that keeps it."""

from libs.common.bus.control import handling
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.ports import Record
from libs.common.clock import Clock
from schemas.decode import Malformed, decode
from schemas.versions import ModelState
from services.drift.handlers.learn_model import LearnModel


class ModelsInlet:
    """Decodes records of `models`, buries what is none, and hands the rest on."""

    def __init__(self, learn: LearnModel, dead_letters: DeadLetters, clock: Clock) -> None:
        self._learn = learn
        self._dead_letters = dead_letters
        self._clock = clock

    async def __call__(self, record: Record) -> None:
        """Handle one record; a tombstone is none. Raises Retryable, and LineStopped for too much poison."""
        if record.value is None:
            return
        with handling(record):
            try:
                state = decode(record.topic, record.value, self._clock.now_ms())
            except Malformed as error:
                await self._dead_letters.bury(record, str(error))
                return
            assert isinstance(state, ModelState)
            await self._learn(state)
            self._dead_letters.passed(1)
